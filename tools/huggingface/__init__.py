"""Image classifiers of Hugging Face's transformers, archived and tried with every method."""
