// The two views of the page: the explanation of a picture, and the gallery of all samples, which is loaded when asked for.

import { byId, showProblem } from "./dom.js";
import { writeLink } from "./link.js";

export class Views {
  constructor(page) {
    this.page = page;
    this.postponed = false; // the picture is explained as soon as it is shown
    byId("show-explain").addEventListener("click", () => this.choose(""));
    byId("show-gallery").addEventListener("click", () => this.choose("gallery"));
  }

  get isGallery() {
    return this.page.state?.view === "gallery";
  }

  choose(view) {
    const { page } = this;
    if (!page.description || this.isGallery === (view === "gallery")) return;
    page.state.view = view;
    window.history.pushState(null, "", writeLink(page.linkState()));
    this.show();
    if (!view && this.postponed) page.setPicture(true);
  }

  // Shows the view of the state. Returns true if it is the gallery, and the explanation is postponed.
  postpones() {
    this.show();
    this.postponed = this.isGallery;
    if (this.isGallery) {
      this.page.opening = false;
      window.history.replaceState(null, "", writeLink(this.page.linkState()));
    }
    return this.isGallery;
  }

  // Leaves the gallery for a picture that was chosen; its link stays in the browser's history.
  explain() {
    if (!byId("gallery").hidden) {
      window.history.pushState(null, "", writeLink(this.page.linkState()));
      this.page.opening = true; // the answer completes this link
    }
    this.show();
  }

  show() {
    const { isGallery } = this;
    byId("explain").hidden = isGallery;
    byId("gallery").hidden = !isGallery;
    byId("show-explain").setAttribute("aria-pressed", String(!isGallery));
    byId("show-gallery").setAttribute("aria-pressed", String(isGallery));
    byId("skip").textContent = isGallery ? "Skip to the gallery" : "Skip to the maps";
    if (isGallery) this.open();
    else this.gallery?.leave();
  }

  async open() {
    try {
      const { Gallery } = await import("./gallery.js");
      this.gallery ??= new Gallery(this.page);
    } catch {
      return showProblem(byId("gallery"), "The gallery cannot be loaded: the page's own server does not answer.");
    }
    if (this.isGallery) this.gallery.show();
  }
}
