"""Put a server under load for minutes, then under faults, and report wrong answers, losses and memory."""
