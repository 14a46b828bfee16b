"use strict";
// What the page shows stands in its address, behind the #: the tab, and the values of its controls where they are not the first ones.
window.crvaeAddress = {
  tab: "sample",
  values: {},
  first: {},

  read() {
    const address = location.hash.slice(1);
    if (address) this.tab = address.split("?")[0];
    return address;
  },

  write() {
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
    this.tab = tab;
    this.write();
  },
};
