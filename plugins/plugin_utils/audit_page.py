# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page of a report looks like and does. Its policy allows this style and this script by their digests."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --bg: #fff; --fg: #1c2430; --dim: #5b6675; --line: #d9dee5; --soft: #f4f6f9; --ok:
  #1a7f4b; --okbg: #e2f4ea; --bad: #b3261e; --badbg: #fce8e6; --warn: #8a5a00; --warnbg: #fdf1d8; --bar: #4a7fc1; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #14181f; --fg: #e4e8ee; --dim: #9aa5b4; --line: #313a47; --soft: #1c222b; --ok: #6fd39c; --okbg:
    #15352a; --bad: #ff9b92; --badbg: #45191a; --warn: #f0c465; --warnbg: #3d2f10; --bar: #5f95d8; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 90rem; padding: 1.5rem 2rem 4rem; background: var(--bg); color: var(--fg); font:
  15px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { margin: .3rem 0; }
.dim { color: var(--dim); }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0 0; padding: 0; list-style: none; }
.tiles li { flex: 1 1 8rem; border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem; background:
  var(--soft); }
.tiles b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; line-height: 1.2; }
.tiles .bad { border-color: var(--bad); background: var(--badbg); }
.tiles .bad b { color: var(--bad); }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem; border-top: 1px solid var(--line); }
thead th { border-top: 0; background: var(--soft); white-space: nowrap; font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.k { white-space: nowrap; }
td.t { white-space: nowrap; font-variant-numeric: tabular-nums; }
td details { font-size: .85rem; }
td small { display: block; color: var(--dim); }
td.x { overflow-wrap: anywhere; min-width: 9rem; }
code, pre { font: .86em/1.4 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { margin: .4rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; max-width: 46rem; }
details[open] pre { min-width: 17rem; }
.tag { display: inline-block; padding: .05rem .5rem; border-radius: 1rem; font-size: .82rem; white-space: nowrap;
  background: var(--soft); color: var(--dim); border: 1px solid var(--line); }
.tag.success, .tag.verified { background: var(--okbg); color: var(--ok); border-color: transparent; }
.tag.denied, .tag.bad { background: var(--badbg); color: var(--bad); border-color: transparent; }
.tag.failed, .tag.unknown, .tag.open, .tag.warn { background: var(--warnbg); color: var(--warn); border-color:
  transparent; }
.good { padding: .7rem 1rem; border-radius: .5rem; background: var(--okbg); color: var(--ok); }
svg { display: block; width: 100%; height: 9rem; }
svg .a { fill: var(--bar); }
svg .d { fill: var(--bad); }
svg line { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.ends { display: flex; justify-content: space-between; color: var(--dim); font-size: .85rem; }
.key::before { content: ""; display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem; margin: 0
  .4rem 0 1rem; }
.key.a::before { background: var(--bar); }
.key.d::before { background: var(--bad); }
form { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin: 0 0 .8rem; }
form[hidden] { display: none; }
input, select, button { font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--line);
  border-radius: .4rem; padding: .3rem .6rem; max-width: 18rem; }
input { flex: 1 1 14rem; }
output { color: var(--dim); }
summary { cursor: pointer; color: var(--dim); }
tr[hidden] { display: none; }
:focus-visible { outline: 2px solid var(--bar); outline-offset: 1px; }
@page { size: A4 landscape; margin: 1cm; }
@media print {
  html { font-size: 10px; }
  :root { color-scheme: light; --bg: #fff; --fg: #000; --dim: #444; --line: #bbb; --soft: #fff; --ok: #060;
    --okbg: #fff; --bad: #900; --badbg: #fff; --warn: #640; --warnbg: #fff; }
  body { max-width: none; padding: 0; font-size: 11px; }
  td.k, td.t, thead th { white-space: normal; }
  th, td { padding: .25rem .4rem; }
  .tag { padding: 0 .6rem 0 0; border: 0; }
  form, td details { display: none; }
  .wide { overflow: visible; border: 0; }
  thead { display: table-header-group; }
  tr, svg { break-inside: avoid; }
}
"""

SCRIPT = """
"use strict";
(function () {
  var form = document.getElementById("filter"), rows = document.querySelectorAll("#commands tbody tr");
  if (!form) { return; }
  var texts = Array.prototype.map.call(rows, function (row) { return row.textContent.toLowerCase(); });
  function apply() {
    var words = form.elements.text.value.toLowerCase().split(/\\s+/).filter(Boolean), shown = 0;
    rows.forEach(function (row, index) {
      var fits = ["host", "vm", "outcome"].every(function (name) {
        var wanted = form.elements[name].value;
        return wanted === "" || row.getAttribute("data-" + name) === wanted;
      }) && words.every(function (word) { return texts[index].indexOf(word) !== -1; });
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    form.elements.count.value = shown + " of " + rows.length;
  }
  form.addEventListener("input", apply);
  form.addEventListener("reset", function () { window.setTimeout(apply, 0); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.hidden = false;
  apply();
}());
"""
