"use strict";
// What the page shows stands in its address, behind the #: the tab, and the values of its controls where they are not the first ones.
window.crvaeAddress = {
  asked: location.hash.slice(1), // by whoever opened the page: kept, since the page's own tabs write before it is read
  settled: false, // whether what was asked is shown
  tab: "sample",
  values: {},
  first: {},

  settle() {
    const tab = this.asked.split("?")[0];
    if (tab in this.values) this.tab = tab;
    this.settled = true;
    this.write();
  },

  write() {
    if (!this.settled) return;
    const shown = new URLSearchParams();
    for (const [name, value] of Object.entries(this.values[this.tab] || {})) {
      if (value !== this.first[this.tab][name]) shown.set(name, value);
    }
    const query = shown.toString();
    history.replaceState(history.state, "", `#${this.tab}${query ? "?" + query : ""}`);
  },

  note(tab, names, first, values) {
    const words = (list) => Object.fromEntries(names.map((name, place) => [name, String(list[place] ?? "")]));
    this.values[tab] = words(values);
    this.first[tab] = words(first);
    if (tab === this.tab) this.write();
  },

  open(tab) {
    if (this.asked && !this.settled) return;
    this.tab = tab;
    this.write();
  },
};
