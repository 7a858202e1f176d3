"use strict";
// Everything that comes from data is set as text or as a number, never as markup: the page's policy allows no other way.
(() => {
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const GAP = 14, NARROWEST = 232, TEXT_HEIGHT = 96, AHEAD = 600; // pixels
const settings = JSON.parse(new TextDecoder().decode(decoded($("settings"))));
const clips = [], rules = structuredClone(settings.rules);
let shown = [], current = -1, open = -1;

// -- making nodes
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== false && value !== undefined && value !== null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}
const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const option = (value, label) => make("option", { value }, label ?? value);

function decoded(node) {
  const text = atob(node.textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
async function load(node) {
  const stream = new Blob([decoded(node)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const block = await new Response(stream).json();
  node.remove();
  block.clip_id.forEach((id, n) => {
    const video = block.videos[block.video_id[n]], why = block.why[n];
    const twin = why.some((text) => text.startsWith("duplicate of "));
    clips.push({ id, n, block, video, why, twin, kept: block.kept[n], judged: block.judged[n], seconds: block.end_s[n] - block.start_s[n] });
  });
}

// -- numbers and texts
const count = (n) => Math.round(n).toLocaleString("en-US");
function figure(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "–" : String(value);
  if (Number.isInteger(value)) return count(value);
  return Math.abs(value) >= 1000 ? count(value) : String(Number(value.toPrecision(4)));
}
function hours(seconds) {
  if (seconds >= 7200) return `${(seconds / 3600).toFixed(1)} h`;
  return seconds >= 120 ? `${(seconds / 60).toFixed(1)} min` : `${seconds.toFixed(1)} s`;
}
const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(2).padStart(5, "0")}`;
const about = (reason) => reason.startsWith("no ") ? reason.slice(0, Math.max(reason.lastIndexOf(": "), 0)) || reason : reason.split(" ")[0];
const value = (clip, name) => clip.block.values[name] ? clip.block.values[name][clip.n] : clip.video[name];
const decision = (clip) => settings.decisions[clip.id] || { decision: "", captions: {} };
function captions(clip) {
  const fixed = decision(clip).captions;
  return settings.captioners.filter((name) => clip.block.captions[name]?.text[clip.n] != null).map((name) => {
    const found = { name };
    for (const [field, column] of Object.entries(clip.block.captions[name])) found[field] = column[clip.n];
    return { ...found, shown: fixed[name] ?? found.text };
  });
}

// -- the filter
const TESTS = {
  "<=": (v, a) => v <= a, ">=": (v, a) => v >= a, "==": (v, a) => v === a, "!=": (v, a) => v !== a,
  "<": (v, a) => v < a, ">": (v, a) => v > a, in: (v, a, b) => v >= a && v <= b,
};
function holds(condition, clip) {
  if (condition.parts) return condition.parts[condition.kind === "any" ? "some" : "every"]((part) => holds(part, clip));
  const v = value(clip, condition.name);
  if (v === null || v === undefined) return false;
  if (condition.text !== undefined) return (v === condition.text) === (condition.test === "==");
  const low = condition.limits[0].value, high = condition.limits.at(-1).value;
  return low !== null && high !== null && TESTS[condition.test](v, low, high);
}
const concerns = (rule, clip) => rule.source ? clip.video.source === rule.source : !rule.others.includes(clip.video.source);
const fails = (rule, clip) => !rule.off && concerns(rule, clip) && !holds(rule.condition, clip);
const leaves = (condition) => condition.parts ? condition.parts.flatMap(leaves) : [condition];
const plain = (limit) => limit.percentile && !limit.moved ? limit.percentile : String(limit.value);
function written(condition) {
  if (condition.parts) return `${condition.kind}(${condition.parts.map(written).join(", ")})`;
  if (condition.text === undefined) return `${condition.name} ${condition.test} ${condition.limits.map(plain).join("..")}`;
  const quote = condition.text.includes('"') ? "'" : '"';
  return `${condition.name} ${condition.test} ${/^[A-Za-z0-9][\w.+-]*$/.test(condition.text) ? condition.text : quote + condition.text + quote}`;
}
const lineOf = (rule) => leaves(rule.condition).some((leaf) => leaf.limits?.some((limit) => limit.moved)) ? written(rule.condition) : rule.line;
function toml() {
  const sections = [...new Set(["", ...rules.map((rule) => rule.source)])];
  const parts = sections.map((source) => {
    const lines = rules.filter((rule) => rule.source === source && !rule.off).map((rule) => `    ${JSON.stringify(lineOf(rule)).replace(/\x7f/g, "\\u007f")},\n`);
    const preset = settings.presets[source] ? `# instead of preset = ${JSON.stringify(settings.presets[source])}, whose lines are among these\n` : "";
    return `[${source ? `filter.source.${source}` : "filter"}]\n${preset}keep = [\n${lines.join("")}]\n`;
  });
  return parts.join("\n");
}

function judge() {
  let kept = 0, seconds = 0, more = 0, less = 0, decided = 0;
  for (const rule of rules) rule.fails = rule.alone = 0;
  for (const clip of clips) {
    const wrong = rules.filter((rule) => fails(rule, clip));
    for (const rule of wrong) rule.fails++;
    if (wrong.length === 1 && !clip.twin) wrong[0].alone++;
    const hand = decision(clip).decision;
    clip.would = hand ? hand === "keep" : !clip.twin && wrong.length === 0;
    if (clip.would) { kept++; seconds += clip.seconds; }
    if (clip.judged !== null) { decided++; more += clip.would && !clip.judged; less += !clip.would && clip.judged; }
  }
  const scale = clips.length ? settings.total / clips.length : 1, roughly = scale > 1 ? "about " : "";
  const changed = decided && (more || less) ? [" · against the verdicts in the run ", make("span", { class: "more" }, `+${count(more * scale)}`), " ", make("span", { class: "less" }, `−${count(less * scale)}`)] : [];
  const share = clips.length ? ` (${(100 * kept / clips.length).toFixed(1)} %)` : "";
  $("outcome").replaceChildren(`Keeps ${roughly}`, make("strong", {}, count(kept * scale)), ` of ${count(settings.total)} clips${share}, ${hours(seconds * scale)}`, ...changed);
  $("lines").textContent = toml();
  for (const rule of rules) {
    rule.node.classList.toggle("off", Boolean(rule.off));
    rule.label.textContent = rule.source ? `${lineOf(rule)} (${rule.source})` : lineOf(rule);
    rule.why.textContent = rule.off ? "switched off" : `fails ${count(rule.fails * scale)}, alone ${count(rule.alone * scale)}`;
  }
}

function chart(spread, marks) {
  const top = Math.max(1, ...spread.kept.map((n, i) => n + spread.lost[i])), bars = spread.kept.length;
  const node = draw("svg", { class: "chart", viewBox: `0 0 ${bars} 100`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (let i = 0; i < bars; i++) {
    const low = 100 * spread.kept[i] / top, high = 100 * spread.lost[i] / top;
    if (low) node.append(draw("rect", { class: "keeps", x: i + 0.06, width: 0.88, y: 100 - low, height: low }));
    if (high) node.append(draw("rect", { class: "loses", x: i + 0.06, width: 0.88, y: 100 - low - high, height: high }));
  }
  for (const x of marks || []) node.append(draw("line", { class: "limit-line", y1: -6, y2: 100, x1: x, x2: x }));
  return node;
}
function place(spread, x) {
  return Math.min(1, Math.max(0, (x - spread.low) / (spread.high - spread.low))) * spread.kept.length;
}
function sliders(rule, leaf) {
  const spread = settings.spreads.find((one) => one.name === leaf.name);
  if (!leaf.limits || !spread) return make("p", { class: "why" }, leaf.limits ? `${leaf.name}: no value yet` : written(leaf));
  const low = Math.min(spread.least, ...leaf.limits.map((l) => l.value ?? spread.least)), high = Math.max(spread.most, ...leaf.limits.map((l) => l.value ?? spread.most));
  const inner = { ...spread, low: Math.max(low, Math.min(spread.low, ...leaf.limits.map((l) => l.value ?? spread.low))), high: Math.min(high, Math.max(spread.high, ...leaf.limits.map((l) => l.value ?? spread.high))) };
  const box = make("div", {}), graph = make("div", {});
  const mark = () => graph.replaceChildren(chart(spread, leaf.limits.filter((l) => l.value !== null).map((l) => place(spread, l.value))));
  leaf.limits.forEach((limit, nth) => {
    const what = leaf.test === "in" ? ["least", "most"][nth] : leaf.test;
    const label = `${leaf.name} ${what}`;
    const range = make("input", { type: "range", min: inner.low, max: inner.high, step: "any", value: limit.value ?? inner.low, "aria-label": label });
    const number = make("input", { type: "number", step: "any", value: limit.value === null ? "" : Number(limit.value.toPrecision(5)), "aria-label": `${label}, as a number` });
    const set = (x) => {
      if (!Number.isFinite(x)) return;
      Object.assign(limit, { value: x, moved: true });
      if (leaf.test === "in" && leaf.limits[0].value > leaf.limits[1].value) leaf.limits[1 - nth].value = x;
      box.dispatchEvent(new Event("limits"));
      mark();
      judge();
      later("verdict", refresh, 250);
    };
    range.addEventListener("input", () => set(Number(Number(range.value).toPrecision(3))));
    number.addEventListener("change", () => set(number.valueAsNumber));
    const sync = () => {
      for (const input of [range, number]) if (input.valueAsNumber !== limit.value) input.value = limit.value;
      range.setAttribute("aria-valuetext", figure(limit.value));
    };
    box.addEventListener("limits", sync);
    range.setAttribute("aria-valuetext", figure(limit.value));
    box.append(make("div", { class: "limit" }, leaf.limits.length > 1 || leaves(rule.condition).length > 1 ? make("span", { class: "name" }, label) : "", range, number));
  });
  mark();
  box.prepend(graph);
  return box;
}
function ruleCard(rule) {
  const toggle = make("input", { type: "checkbox", change: () => { rule.off = !toggle.checked; judge(); refresh(); } });
  toggle.checked = !rule.off;
  rule.label = make("span", {});
  rule.why = make("p", { class: "why" });
  rule.node = make("div", { class: "condition" }, make("header", {}, make("label", {}, toggle, " ", rule.label)), ...leaves(rule.condition).map((leaf) => sliders(rule, leaf)), rule.why);
  return rule.node;
}
function conditions() {
  $("conditions").replaceChildren(...rules.map(ruleCard));
  if (!rules.length) $("conditions").append(make("p", { class: "nothing" }, "No condition: every clip is kept. Add one above."));
}
function addCondition() {
  const spread = settings.spreads.find((one) => one.name === $("add").value);
  $("add").value = "";
  if (!spread) return;
  const limit = { value: Number(spread.least.toPrecision(3)) > spread.least ? spread.least : Number(spread.least.toPrecision(3)), percentile: "", moved: true };
  rules.push({ line: "", source: "", others: rules.find((rule) => !rule.source)?.others || settings.others, condition: { name: spread.name, test: ">=", limits: [limit] } });
  conditions();
  judge();
  rules.at(-1).node.querySelector("input[type=range]").focus();
}

// -- choosing clips
const VERDICTS = {
  all: ["all", () => true],
  kept: ["kept", (c) => c.kept === true],
  lost: ["left out", (c) => c.kept === false],
  open: ["not judged yet", (c) => c.kept === null],
  more: ["sliders: newly kept", (c) => c.would && c.judged === false],
  less: ["sliders: newly left out", (c) => !c.would && c.judged === true],
  would: ["sliders: kept", (c) => c.would],
  hand: ["decided by hand", (c) => Boolean(settings.decisions[c.id])],
  nohand: ["not decided by hand", (c) => !settings.decisions[c.id]],
};
const timers = {};
function later(name, work, ms) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(work, ms);
}
function haystack(clip) {
  if (clip.hay === undefined) {
    const { title, author, tags, path, site_id } = clip.video;
    clip.hay = [clip.id, title, author, path, site_id, ...(tags || []), ...captions(clip).map((one) => one.shown)].join("\n").toLowerCase();
  }
  return clip.hay;
}
function refresh(before) {
  const words = $("words").value.toLowerCase().split(/\s+/).filter(Boolean), verdict = VERDICTS[$("verdict").value][1];
  const [source, reason, licence, sort] = ["source", "reason", "licence", "sort"].map((id) => $(id).value);
  shown = clips.filter((clip) => verdict(clip) && (!source || clip.video.source === source) && (!licence || clip.video.license === licence)
    && (!reason || clip.why.some((text) => about(text) === reason)) && words.every((word) => haystack(clip).includes(word)));
  if (sort) {
    const sign = $("falling").checked ? -1 : 1;
    shown.sort((a, b) => {
      const [x, y] = [value(a, sort), value(b, sort)];
      return x == null || y == null ? (x == null) - (y == null) : sign * (x - y);
    });
  } else if ($("falling").checked) shown.reverse();
  current = Math.max(0, shown.indexOf(before));
  $("found").textContent = `${count(shown.length)} of ${count(clips.length)} clips, ${hours(shown.reduce((sum, clip) => sum + clip.seconds, 0))}`;
  $("empty").hidden = shown.length > 0;
  $("empty").textContent = clips.length ? "No clip is like that. Loosen the search above." : `No clips yet: osd-build split ${settings.folder} makes them.`;
  for (const node of nodes.values()) node.remove();
  nodes.clear();
  lay();
}

// -- the gallery: only what is in sight exists
const nodes = new Map(), gallery = $("gallery");
let columns = 1, wide = NARROWEST, high = 200;
function lay() {
  const width = gallery.clientWidth;
  columns = Math.max(1, Math.floor((width + GAP) / (NARROWEST + GAP)));
  wide = (width - GAP * (columns - 1)) / columns;
  high = Math.round(wide * 9 / 16) + TEXT_HEIGHT;
  gallery.style.height = `${Math.max(0, Math.ceil(shown.length / columns) * (high + GAP) - GAP)}px`;
  for (const [n, node] of nodes) put(n, node);
  show();
}
function put(n, node) {
  Object.assign(node.style, { width: `${wide}px`, height: `${high}px`, transform: `translate(${(n % columns) * (wide + GAP)}px, ${Math.floor(n / columns) * (high + GAP)}px)` });
}
function show() {
  const top = -gallery.getBoundingClientRect().top, row = high + GAP;
  const first = Math.max(0, Math.floor((top - AHEAD) / row) * columns), end = Math.min(shown.length, Math.ceil((top + innerHeight + AHEAD) / row) * columns);
  for (const [n, node] of nodes) {
    if ((n < first || n >= end) && n !== current) { node.remove(); nodes.delete(n); }
  }
  const wanted = new Set([...Array(Math.max(0, end - first)).keys()].map((i) => first + i));
  if (shown.length) wanted.add(current); // so that Tab comes to the gallery, and finds its way back
  for (const n of [...wanted].filter((n) => !nodes.has(n))) {
    const node = card(n), after = [...nodes.keys()].filter((other) => other > n);
    put(n, node);
    gallery.insertBefore(node, after.length ? nodes.get(Math.min(...after)) : null);
    nodes.set(n, node);
  }
}
function source(clip) {
  const inline = clip.block.jpeg?.[clip.n];
  return inline ? `data:image/jpeg;base64,${inline}` : settings.pictures.replace("{}", encodeURIComponent(clip.id));
}
function strip(clip) {
  if (!clip.block.pictures[clip.n]) return make("span", { class: "lacking" }, "no picture: strip missing or damaged");
  const image = make("img", { alt: "", loading: "lazy", decoding: "async" }), box = make("div", { class: "window flat" }, image);
  image.addEventListener("load", () => {
    const ratio = image.naturalWidth / settings.frames / image.naturalHeight;
    box.className = `window ${ratio > 16 / 9 ? "flat" : "tall"}`;
    box.style.aspectRatio = ratio;
  });
  image.addEventListener("error", () => box.replaceWith(make("span", { class: "lacking" }, "no picture: strip missing or damaged")));
  image.src = source(clip);
  return box;
}
function scrub(event) {
  const frame = event.currentTarget, box = frame.querySelector(".window"), many = settings.frames;
  const edge = frame.getBoundingClientRect(), part = event.type === "pointerleave" ? 0 : (event.clientX - edge.left) / edge.width;
  if (box) box.firstChild.style.transform = `translateX(${-100 * Math.min(many - 1, Math.max(0, Math.floor(part * many))) / many}%)`;
}
const verdictOf = (clip) => clip.kept === null ? ["", "not judged"] : clip.kept ? ["kept", "kept"] : ["lost", "left out"];
function card(n) {
  const clip = shown[n], [mood, word] = verdictOf(clip), hand = decision(clip), said = captions(clip)[0];
  const text = clip.kept === false && clip.why.length ? make("span", { class: "text why" }, clip.why.join("; ")) : make("span", { class: "text" }, said ? said.shown || "(empty caption)" : "no caption yet");
  const frame = make("span", { class: "frame", pointermove: scrub, pointerleave: scrub }, strip(clip), make("span", { class: `tag verdict ${mood}` }, word),
    make("span", { class: "tag long" }, `${clip.seconds.toFixed(1)} s`), hand.decision || Object.keys(hand.captions).length ? make("span", { class: "tag hand" }, hand.decision || "caption") : "");
  const sort = $("sort").value, extra = sort && sort !== "duration_s" ? ` · ${sort} ${figure(value(clip, sort))}` : ` · ${clip.video.title || clip.video.path}`;
  const about_ = make("span", { class: "about" }, `${clip.block.width[clip.n]}×${clip.block.height[clip.n]} · ${clip.video.source}${extra}`);
  const button = make("button", { type: "button", class: "card", tabindex: n === current ? 0 : -1, "data-n": n, click: () => view(n) }, frame, make("span", { class: "said" }, about_, text));
  return make("li", { "aria-setsize": shown.length, "aria-posinset": n + 1 }, button);
}
function focusCard(n) {
  if (n < 0 || n >= shown.length) return;
  nodes.get(current)?.firstChild.setAttribute("tabindex", -1);
  current = n;
  const top = gallery.getBoundingClientRect().top + Math.floor(n / columns) * (high + GAP);
  if (top < 90 || top + high > innerHeight - 10) scrollTo({ top: scrollY + top - Math.max(90, (innerHeight - high) / 2), behavior: "instant" });
  show();
  nodes.get(n).firstChild.setAttribute("tabindex", 0);
  nodes.get(n).firstChild.focus({ preventScroll: true });
}
gallery.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: 4 * columns, PageUp: -4 * columns }[event.key];
  const to = event.key === "Home" ? 0 : event.key === "End" ? shown.length - 1 : step ? Math.min(shown.length - 1, Math.max(0, current + step)) : -1;
  if (to >= 0 && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); focusCard(to); }
});
gallery.addEventListener("focusin", (event) => {
  const n = Number(event.target.closest(".card")?.dataset.n ?? current);
  nodes.get(current)?.firstChild.setAttribute("tabindex", -1);
  current = n;
  event.target.closest(".card")?.setAttribute("tabindex", 0);
});

// -- one clip
const dialog = $("clip");
function link(url) {
  if (!/^https?:\/\//i.test(url)) return url;
  return make("a", { href: url, rel: "noopener noreferrer nofollow", target: "_blank" }, url);
}
function facts(rows) {
  return make("dl", { class: "facts" }, ...rows.filter(([, text]) => text !== "" && text !== null && text !== undefined).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
}
function player(clip) {
  const film = make("div", { class: "film", role: "img", "aria-label": "Frames of the clip" }, clip.block.pictures[clip.n] ? make("img", { src: source(clip), alt: "" }) : make("span", { class: "lacking" }, "no picture: strip missing or damaged"));
  if (!clip.video.href) return make("div", {}, film, make("p", { class: "hint" }, "The video is not beside this page."));
  const [from, to] = [clip.block.start_s[clip.n], clip.block.end_s[clip.n]];
  const video = make("video", { controls: true, playsinline: true, preload: "metadata", src: `${clip.video.href}#t=${from.toFixed(3)},${to.toFixed(3)}`, "aria-label": "The clip in its source video" });
  const note = make("p", { class: "hint", role: "status" });
  video.addEventListener("timeupdate", () => { if (video.currentTime >= to - 0.01) { video.pause(); video.currentTime = from; } });
  video.addEventListener("play", () => { if (video.currentTime < from - 0.05 || video.currentTime >= to) video.currentTime = from; });
  video.addEventListener("error", () => { video.remove(); note.textContent = `This browser cannot play it here (${clip.video.container}, ${clip.video.codec}), or the file is gone.`; });
  return make("div", {}, video, note, film);
}
function tests(clip) {
  const rows = settings.rules.filter((rule) => concerns(rule, clip)).flatMap((rule) => leaves(rule.condition).map((leaf) => {
    const good = holds(leaf, clip), spare = !good && holds(rule.condition, clip);
    return make("tr", {}, make("th", { scope: "row" }, make("code", {}, leaf.name)), make("td", { class: "number" }, figure(value(clip, leaf.name))),
      make("td", {}, leaf.limits ? `${leaf.test} ${leaf.limits.map((l) => l.percentile ? `${figure(l.value)} (${l.percentile})` : figure(l.value)).join("..")}` : `${leaf.test} ${leaf.text}`),
      make("td", { class: good ? "holds" : spare ? "" : "fails" }, good ? "holds" : spare ? "fails, another holds" : "fails"));
  }));
  const head = make("thead", {}, make("tr", {}, ...["Value", "", "Condition", ""].map((text, n) => text ? make("th", { scope: "col" }, text) : make("td", {}, n === 1 ? "" : ""))));
  return rows.length ? make("table", { class: "tests" }, head, make("tbody", {}, ...rows)) : make("p", { class: "hint" }, "No condition is for this clip.");
}
function captionBox(clip, one) {
  const how = [one.model, one.revision && `revision ${one.revision}`, one.engine, one.language, one.status !== "ok" && one.status, one.tokens ? `${one.tokens} tokens` : "", `${one.shown.split(/\s+/).filter(Boolean).length} words`];
  const box = make("article", { class: "caption" }, make("h3", {}, one.name), make("blockquote", {}, one.shown || "(empty)"));
  if (one.shown !== one.text) box.append(make("p", { class: "was" }, one.text));
  box.append(make("p", { class: "hint" }, how.filter(Boolean).join(" · ")));
  if (one.prompt) box.append(make("details", {}, make("summary", {}, "Prompt"), make("pre", {}, one.prompt)));
  if (one.parameters) box.append(make("details", {}, make("summary", {}, "Parameters"), make("pre", {}, one.parameters)));
  if (settings.view) box.append(make("div", {}, make("button", { type: "button", class: "fix", click: () => fix(clip, one, box) }, "Fix caption")));
  return box;
}
function view(n) {
  if (n < 0 || n >= shown.length) return;
  open = current = n;
  const clip = shown[n], { video, block } = clip, [mood, word] = verdictOf(clip), hand = decision(clip);
  const hands = settings.view ? [["keep", "Keep"], ["drop", "Drop"], ["", "Undo"]].map(([what, label]) => make("button", { type: "button", "data-decision": what || "undo", "aria-pressed": what ? hand.decision === what : null, click: () => decide(clip, what) }, label)) : [];
  const head = make("header", {}, make("h2", { id: "clip-title" }, video.title || video.path || clip.id), make("span", { class: `pill ${mood}` }, word), hand.decision ? make("span", { class: "pill" }, `by hand: ${hand.decision}`) : "", ...hands,
    make("button", { type: "button", "aria-label": "Previous clip", click: () => view(open - 1) }, "←"), make("span", { class: "hint" }, `${count(n + 1)} of ${count(shown.length)}`),
    make("button", { type: "button", "aria-label": "Next clip", click: () => view(open + 1) }, "→"), make("button", { type: "button", click: () => dialog.close() }, "Close"));
  const all = captions(clip), names = Object.keys(block.values).filter((name) => block.values[name][clip.n] !== null);
  const left = make("div", {}, player(clip), clip.why.length ? make("ul", { class: "reasons", "aria-label": "Why it is left out" }, ...clip.why.map((text) => make("li", {}, text))) : "",
    ...all.map((one) => captionBox(clip, one)), all.length ? "" : make("p", { class: "hint" }, "No caption yet."));
  const right = make("div", {}, make("h3", {}, "Conditions"), tests(clip),
    make("details", {}, make("summary", {}, `All ${names.length} values`), facts(names.map((name) => [name, figure(block.values[name][clip.n])]))),
    make("h3", {}, "Where it is from"), facts([["title", video.title], ["author", video.author], ["author page", link(video.author_url)], ["licence", video.license], ["stated as", video.license_text !== video.license ? video.license_text : ""], ["licence page", link(video.license_url)],
      ["page", link(video.page_url)], ["file", link(video.url)], ["source", video.source], ["path", video.path], ["site", [video.site, video.site_id].filter(Boolean).join(" ")], ["tags", (video.tags || []).join(", ")], ["fetched", video.retrieved_at]]),
    make("h3", {}, "In the video"), facts([["span", `${clock(block.start_s[clip.n])} – ${clock(block.end_s[clip.n])} of ${clock(video["scan duration_s"] ?? 0)}`], ["frames", `${count(block.start_frame[clip.n])} – ${count(block.end_frame[clip.n] - 1)}`],
      ["pictures", `${block.width[clip.n]}×${block.height[clip.n]}, ${figure(block.values.fps?.[clip.n])} frames/s`], ["file", `${video.container}, ${video.codec}, ${count(video.size_bytes / 1000)} kB`], ["broken off", video["scan complete"] === false ? video["scan lost"] : ""],
      ["shard", block.shard[clip.n]], ["clip", clip.id], ["sha256", video.sha256]]));
  dialog.replaceChildren(head, make("div", { class: "body" }, left, right), make("p", { id: "said", class: "unseen", role: "status" }));
  if (!dialog.open) dialog.showModal();
  dialog.focus();
  dialog.scrollTop = 0;
}
dialog.setAttribute("tabindex", "-1");
dialog.addEventListener("close", () => { // by now the browser has given the focus back to the card that was opened first
  const last = shown[open];
  dialog.replaceChildren();
  if (settings.view) refresh(last);
  focusCard(Math.max(0, shown.indexOf(last)));
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("textarea, input, select, video")) return;
  const clip = shown[open], key = event.key.toLowerCase();
  const acts = { arrowleft: () => view(open - 1), arrowright: () => view(open + 1) };
  if (settings.view) Object.assign(acts, { k: () => decide(clip, "keep"), d: () => decide(clip, "drop"), u: () => decide(clip, ""), e: () => dialog.querySelector(".fix")?.click() });
  if (acts[key]) { event.preventDefault(); acts[key](); }
});

// -- deciding (only where `osd-build view` answers)
async function send(path, type, body) {
  try {
    const answer = await fetch(path, { method: "POST", headers: { "content-type": type }, body });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    return told;
  } catch (error) {
    alert(`Not saved: ${error.message}. Is osd-build view still running?`);
    return null;
  }
}
async function decide(clip, what, text = null) {
  const told = await send("decide", "application/json", JSON.stringify({ clip_id: clip.id, decision: what, captions: text ?? (what ? decision(clip).captions : {}) }));
  if (!told) return;
  if (told.decision || Object.keys(told.captions).length) settings.decisions[clip.id] = told;
  else delete settings.decisions[clip.id];
  clip.hay = undefined;
  view(what && text === null && open + 1 < shown.length ? open + 1 : open);
  $("said").textContent = `${clip.id}: ${what || "no decision"}`;
}
function fix(clip, one, box) {
  const area = make("textarea", { "aria-label": `Caption by ${one.name}` });
  area.value = one.shown;
  const save = () => {
    const fixed = { ...decision(clip).captions };
    if (area.value === one.text) delete fixed[one.name];
    else fixed[one.name] = area.value;
    decide(clip, decision(clip).decision, fixed);
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); view(open); }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); save(); }
  });
  box.replaceChildren(make("h3", {}, one.name), area, make("p", { class: "hint" }, "Ctrl+Enter saves, Escape leaves it as it was."),
    make("div", {}, make("button", { type: "button", click: save }, "Save"), " ", make("button", { type: "button", click: () => view(open) }, "Cancel")));
  area.focus();
}

// -- the page
function theme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  try { localStorage.setItem("osd-theme", root.dataset.theme); } catch { /* nowhere to keep it */ }
}
function choices() {
  const put = (id, names) => $(id).append(...[...new Set(names)].sort().map((name) => option(name)));
  put("source", clips.map((clip) => clip.video.source));
  put("licence", clips.map((clip) => clip.video.license));
  put("reason", clips.flatMap((clip) => clip.why.map(about)));
  const names = settings.spreads.map((spread) => spread.name);
  $("verdict").append(...Object.entries(VERDICTS).filter(([key]) => settings.view || !key.includes("hand") || Object.keys(settings.decisions).length).map(([key, [label]]) => option(key, label)));
  $("sort").append(option("", "video, then time"), ...names.map((name) => option(name)));
  $("add").append(...names.map((name) => option(name)));
  const graph = (spread) => make("div", { class: "spread" }, make("h3", {}, spread.name), chart(spread),
    make("p", {}, make("span", {}, figure(spread.low)), make("span", {}, `median ${figure(spread.median)}`), make("span", {}, figure(spread.high))), spread.missing ? make("p", {}, `${count(spread.missing)} without`) : "");
  const asked = new Set(rules.flatMap((rule) => leaves(rule.condition).map((leaf) => leaf.name))), seen = new Set();
  const first = settings.spreads.filter(({ name }) => asked.has(name) || !name.includes(".") || (!seen.has(name.split(".")[0]) && seen.add(name.split(".")[0])));
  const rest = settings.spreads.filter((spread) => !first.includes(spread));
  $("spreads").replaceChildren(...first.map(graph));
  $("more").lastElementChild.replaceChildren(...rest.map(graph));
  $("more").hidden = !rest.length;
  if (!names.length) $("spreads").append(make("p", { class: "nothing" }, "Nothing has been measured yet."));
}
async function start() {
  try { if (localStorage.getItem("osd-theme")) document.documentElement.dataset.theme = localStorage.getItem("osd-theme"); } catch { /* as the system has it */ }
  $("theme").addEventListener("click", theme);
  for (const node of document.querySelectorAll(".block")) await load(node);
  choices();
  conditions();
  judge();
  for (const id of ["verdict", "source", "reason", "licence", "sort", "falling"]) $(id).addEventListener("change", () => refresh());
  $("words").addEventListener("input", () => later("words", refresh, 120));
  $("search").addEventListener("submit", (event) => event.preventDefault());
  $("add").addEventListener("change", addCondition);
  $("reset").addEventListener("click", () => { rules.splice(0, rules.length, ...structuredClone(settings.rules)); conditions(); judge(); refresh(); });
  $("copy").addEventListener("click", () => navigator.clipboard.writeText($("lines").textContent).then(() => { $("copied").textContent = "copied"; }, () => getSelection().selectAllChildren($("lines"))));
  $("import")?.addEventListener("change", async (event) => { if (event.target.files[0] && await send("import", "text/csv", event.target.files[0])) location.reload(); });
  addEventListener("scroll", () => requestAnimationFrame(show), { passive: true });
  new ResizeObserver(lay).observe(gallery);
  addEventListener("keydown", (event) => { if (event.key === "/" && !event.target.matches("input, textarea, select") && !dialog.open) { event.preventDefault(); $("words").focus(); } });
  refresh();
  document.documentElement.dataset.ready = "yes";
}
start();
})();
