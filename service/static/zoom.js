// Deep zoom: OpenSeadragon on the service's own IIIF tiles, loaded when it is first wanted. The image has it;
// elsewhere `make viewer` fetches it.

import * as api from "./api.js";

const SCRIPT = "/static/vendor/openseadragon/openseadragon.min.js";
const find = (id) => document.getElementById(id);

let loading = null;

/** OpenSeadragon writes a style of its own unless it finds one; the page's policy allows none, and has it already. */
function keepStyle() {
  const stand = document.createElementNS(null, "style"); // means nothing to the browser
  stand.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(stand);
}

function openSeadragon() {
  loading ??= new Promise((resolve, reject) => {
    keepStyle();
    const script = document.createElement("script");
    script.src = SCRIPT;
    script.onload = () => resolve(window.OpenSeadragon);
    script.onerror = () => {
      loading = null;
      reject(new Error("The zooming viewer is not installed here: `make viewer` fetches it"));
    };
    document.head.append(script);
  });
  return loading;
}

export class DeepZoom {
  #viewer = null;
  #dialog = find("zoom-dialog");

  constructor() {
    this.#dialog.addEventListener("close", () => this.#end());
    find("zoom-in").addEventListener("click", () => this.#viewer?.viewport.zoomBy(1.6));
    find("zoom-out").addEventListener("click", () => this.#viewer?.viewport.zoomBy(1 / 1.6));
    find("zoom-pixels").addEventListener("click", () => {
      const viewport = this.#viewer?.viewport;
      viewport?.zoomTo(viewport.imageToViewportZoom(1 / devicePixelRatio));
    });
    find("zoom-home").addEventListener("click", () => this.#viewer?.viewport.goHome());
  }

  async open(id) {
    find("zoom-problem").hidden = true;
    this.#dialog.showModal();
    try {
      const [OpenSeadragon, tileSources] = await Promise.all([openSeadragon(), api.tiles(id)]);
      if (!this.#dialog.open) return;
      this.#end();
      this.#viewer = OpenSeadragon({
        element: find("zoom-stage"),
        tileSources,
        showNavigationControl: false,
        maxZoomPixelRatio: 4,
        loadTilesWithAjax: Boolean(api.currentKey()),
        ajaxHeaders: api.credentials(),
      });
      this.#viewer.addHandler("open-failed", ({ message }) => this.#fail(message));
      this.#viewer.addHandler("tile-load-failed", ({ message }) => this.#fail(message));
      this.#viewer.canvas.setAttribute("aria-label", "Picture; arrow keys move it, plus and minus zoom");
    } catch (error) {
      this.#fail(error.message);
    }
  }

  /** For tests: whether everything that is seen has come. */
  get settled() {
    return Boolean(this.#viewer?.world.getItemAt(0)?.getFullyLoaded());
  }

  #end() {
    this.#viewer?.destroy();
    this.#viewer = null;
  }

  #fail(text) {
    find("zoom-problem").textContent = text;
    find("zoom-problem").hidden = false;
  }
}
