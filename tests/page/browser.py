"""As much of a browser as the page's modules touch, for node: no layout, and nothing is painted."""

DOCUMENT = r"""
/** Whether a node is what a simple selector names: "p", ".choose:checked", "[name=mode][value=one]". */
const fits = (node, selector) => {
  const [, tag, kind, conditions, checked] = /^(\w*)(?:\.([\w-]+))?((?:\[.+\])?)(:checked)?$/.exec(selector);
  const pairs = [...conditions.matchAll(/\[([\w-]+)=([^\]]+)\]/g)];
  return (!tag || node.tag === tag)
    && (!kind || node.className === kind)
    && pairs.every(([, name, value]) => String(node[name] ?? node.attributes[name]) === value)
    && (!checked || node.checked);
};

class Node {
  attributes = {};
  children = [];
  checked = false;
  className = "";
  dataset = {};
  heard = {};
  hidden = false;
  kinds = new Set();
  parent = null;
  selectedIndex = 0;
  src = "";
  style = { setProperty() {} };
  textContent = "";
  value = "";
  clientHeight = 100;
  clientWidth = 100;
  scrollHeight = 100;
  scrollLeft = 0;
  scrollTop = 0;
  scrollWidth = 100;
  classList = {
    add: (kind) => this.kinds.add(kind),
    contains: (kind) => this.kinds.has(kind),
    remove: (kind) => this.kinds.delete(kind),
    toggle: (kind, on = !this.kinds.has(kind)) => this.kinds[on ? "add" : "delete"](kind),
  };

  constructor(tag) { this.tag = tag; }
  get firstChild() { return this.children[0]; }
  get firstElementChild() { return this.children[0] ?? this.#added("span"); }
  get isConnected() { return this.parent !== null; }

  addEventListener(name, listener) { (this.heard[name] ??= []).push(listener); }
  tell(name) { for (const listener of this.heard[name] ?? []) listener({ target: this }); }
  click() {
    if (this.type === "checkbox") this.checked = !this.checked;
    if (this.type === "checkbox") this.tell("change");
    this.tell("click");
  }
  focus() {}
  scrollIntoView() {}
  setAttribute(name, value) { this.attributes[name] = value; }
  removeAttribute(name) { this[name] = ""; }

  #added(tag) {
    this.append(new Node(tag));
    return this.children.at(-1);
  }
  #hold(nodes) {
    for (const node of nodes) Object.assign(node, { parent: this });
    return nodes;
  }
  append(...nodes) { this.children.push(...this.#hold(nodes)); }
  prepend(...nodes) { this.children.unshift(...this.#hold(nodes)); }
  replaceChildren(...nodes) {
    for (const node of this.children) node.parent = null;
    this.children = this.#hold(nodes);
  }
  replaceWith(node) {
    this.parent.children[this.parent.children.indexOf(this)] = node;
    [node.parent, this.parent] = [this.parent, null];
  }
  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((node) => node !== this);
    this.parent = null;
  }
  querySelectorAll(selector) {
    const below = this.children.flatMap((node) => node.querySelectorAll(selector));
    return [...this.children.filter((node) => fits(node, selector)), ...below];
  }
  /** What the page's HTML has and this document lacks is added. */
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? this.#added(selector); }

  async decode() {}
  getContext() {
    return { drawImage() {}, getImageData: (x, y, w, h) => ({ data: new Uint8Array(4 * w * h) }) };
  }
  toBlob(done) { done(new Blob(["written"], { type: "image/png" })); }

  /** A dialog: the person agrees. */
  showModal() {
    setTimeout(() => {
      this.returnValue = "yes";
      this.tell("close");
    });
  }
}

const windowHeard = {};
const found = {};
const find = (id) => (found[id] ??= new Node("div"));
const rest = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const infoOf = (id, more = {}) => ({
  id, name: id, width: 1000, height: 1000, bytes: 100, source_bytes: 100, source_format: "png",
  kind: "compass", quality: 80, average: "#fff", thumbhash: "", created: "2026-01-01T00:00:00Z",
  srcset: `/images/${id}?width=100 100w, /images/${id}?width=1000 1000w`,
  layers: [{ width: 1000, height: 1000, bytes: 100, prefix: 100 }], ...more,
});
const json = (status, facts) => new Response(JSON.stringify(facts), { status });

const parts = { body: new Node("body"), createElement: (tag) => new Node(tag), getElementById: find };
Object.assign(globalThis, {
  addEventListener: (name, listener) => { windowHeard[name] = listener; },
  createImageBitmap: async () => ({ width: 4, height: 4, close() {} }),
  devicePixelRatio: 1,
  document: Object.assign(new Node("html"), parts),
  history: { pushState: () => { location.hash = ""; }, replaceState: () => { location.hash = ""; } },
  innerHeight: 100,
  IntersectionObserver: class { observe() {} unobserve() {} },
  location: { hash: "", origin: "http://page.test", pathname: "/" },
  sessionStorage: { getItem: () => null, setItem() {} },
});
globalThis.window = globalThis;
"""
"""Defines ``find(id)``, which has every element that it is asked for; ``infoOf(id)``, what a service tells of
a picture; ``json(status, facts)``, an answer; ``rest(milliseconds)``. A module hears
``find(id).tell("change")``.
"""
