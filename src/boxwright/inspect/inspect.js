"use strict";
// The rules of the library, on the numbers that the page carries. Thresholds are rounded to float32, as torch does.

// State of each anchor as match_iou gives it: 1 positive, 0 negative, -1 ignored.
function matchStates(image, positive, negative, strict) {
  const high = Math.fround(positive), low = Math.fround(negative);
  return Int8Array.from(image.iou, (iou, i) => {
    const reached = strict ? iou > high : iou >= high;
    if (image.fixed[i] || reached) return 1;
    return iou >= low || image.covered[i] ? -1 : 0;
  });
}

// The negatives that hard_negatives takes: the ratio x positives highest background losses, the earlier anchor first.
// `exact` is false where negatives that the page leaves out would be among them.
function hardNegatives(image, states, ratio, least) {
  const positives = states.reduce((sum, state) => sum + (state === 1), 0);
  const wanted = Math.max(Math.floor(Math.fround(positives * Math.fround(ratio))), least);
  const order = [...states.keys()].filter(i => states[i] === 0);
  order.sort((a, b) => image.background[b] - image.background[a] || a - b);
  const hard = new Uint8Array(states.length);
  const taken = order.slice(0, wanted);
  for (const i of taken) hard[i] = 1;
  const last = taken.length ? image.background[taken[taken.length - 1]] : Infinity;
  const exact = image.left === null || (taken.length === wanted && last > image.left);
  return { hard, exact };
}

// Base64 of little-endian numbers, by the name of their typed array.
const KINDS = { f4: Float32Array, i2: Int16Array, u2: Uint16Array, u1: Uint8Array };
function unpack([kind, text]) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return new KINDS[kind](bytes.buffer);
}

function readImage(packed) {
  const image = { ...packed };
  for (const [name, column] of Object.entries(packed.columns)) image[name] = unpack(column);
  image.fixed = image.flags.map(flag => flag & 1);
  image.covered = image.flags.map(flag => flag >> 1 & 1);
  image.counted = image.flags.map(flag => flag >> 2 & 1);
  return image;
}

// What an anchor is shown as: a place in the page's list of kinds, which differs with losses and without.
function kindsOf(image, states, hard, forces) {
  return Uint8Array.from(states, (state, i) => {
    if (state === 1) return image.score ? +(image.score[i] < 0.5) : forces & image.fixed[i];
    return state < 0 ? 4 : hard[i] ? 2 : 3;
  });
}

// How much an anchor of each IoU stands out among those of its object, 0..1: 1 for the best.
function strengths(ious) {
  const most = Math.max(...ious), least = Math.min(...ious);
  return ious.map(iou => most > least ? (iou - least) / (most - least) : 1);
}

// The part of a picture (width, height) that holds the boxes with some room around, in the picture's shape.
function closeUp(boxes, width, height) {
  const low = [0, 1].map(k => Math.min(...boxes.map(box => box[k])));
  const high = [2, 3].map(k => Math.max(...boxes.map(box => box[k])));
  const share = Math.min(1, Math.max((high[0] - low[0]) / width, (high[1] - low[1]) / height, 1 / 16) * 1.3);
  const place = (middle, side) => Math.min(Math.max(middle - side / 2, 0), (1 - share) * (side / share));
  return { x: place((low[0] + high[0]) / 2, share * width), y: place((low[1] + high[1]) / 2, share * height), scale: 1 / share };
}

if (typeof module !== "undefined") module.exports = { matchStates, hardNegatives, readImage, kindsOf, strengths, closeUp };
if (typeof document !== "undefined") start(JSON.parse(document.getElementById("data").textContent));

function start(data) {
  const $ = id => document.getElementById(id);
  const canvas = $("canvas"), pen = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const colors = [0, 1, 2, 3, 4].map(k => style.getPropertyValue(`--kind${k}`).trim());
  const dashes = [[], [], [6, 3], [2, 3], [8, 2, 2, 2]];
  const names = data.kinds;
  const shown = new Set(data.losses ? [0, 1, 2] : [0, 1]);
  const SIDE = 640;  // of a picture's longer side at least, so that lines are thin on small ones
  let order = [], image = null, picture = null, kinds = [], states = [], lacking = [], at = -1;
  let view = { x: 0, y: 0, scale: 1 };
  const cache = new Map();

  function read(place) {
    if (!cache.has(place)) cache.set(place, readImage(data.images[place]));
    return cache.get(place);
  }

  // The list of images

  function isWanted(object) {
    const size = $("size").value, label = $("class").value;
    return !object.ignore && ($("only").value === "" || !object.positives) &&
      (label === "" || object.label === +label) && (size === "" || object.size === size);
  }

  function fits(packed) {
    return packed.objects.some(isWanted) || !($("size").value || $("class").value || $("only").value);
  }

  function list() {
    const by = $("order").value;
    order = data.images.map((_, place) => place).filter(place => fits(data.images[place]));
    if (by === "loss") order.sort((a, b) => data.images[b].loss - data.images[a].loss);
    if (by === "name") order.sort((a, b) => data.images[a].name.localeCompare(data.images[b].name));
    $("images").replaceChildren(...order.map(place => {
      const packed = data.images[place], button = document.createElement("button");
      const objects = packed.objects.filter(o => !o.ignore), none = objects.filter(o => !o.positives).length;
      button.type = "button";
      button.dataset.place = place;
      button.tabIndex = -1;
      button.textContent = packed.name;
      const note = document.createElement("span");
      note.textContent = `${objects.length} object${objects.length === 1 ? "" : "s"}` + (none ? `, ${none} unmatched` : "") +
        (data.losses ? `, loss ${packed.loss === null ? "not finite" : packed.loss.toPrecision(3)}` : "");
      button.append(note);
      button.onclick = () => open(place);
      return button;
    }));
    $("none").hidden = order.length > 0;
    if (order.length) open(order.includes(image?.place) ? image.place : order[0]);
  }

  $("images").onkeydown = event => {
    const now = order.indexOf(image.place);
    const next = { ArrowDown: now + 1, ArrowRight: now + 1, ArrowUp: now - 1, ArrowLeft: now - 1, Home: 0,
      End: order.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    open(order[Math.min(Math.max(next, 0), order.length - 1)]);
    $("images").querySelector('[aria-current="true"]').focus();
  };

  // `last`: with its last object instead of the first.
  function open(place, last = false) {
    image = Object.assign(read(place), { place });
    for (const button of $("images").children) {
      const current = +button.dataset.place === place;
      button.setAttribute("aria-current", current);
      button.tabIndex = current ? 0 : -1;
      if (current) reveal(button, $("images"));
    }
    $("caption").textContent = image.name;
    picture = new Image();
    picture.onload = draw;
    picture.src = image.src;
    const times = Math.max(1, Math.round(SIDE / Math.max(image.width, image.height)));
    canvas.width = times * image.width;
    canvas.height = times * image.height;
    at = -1;
    const options = image.objects.map((o, i) => new Option(`${i + 1}: ${data.classes[o.label]}, ` +
      (o.ignore ? "ignored" : `${o.positives || "no"} anchors, best IoU ${o.best.toFixed(2)}`), i));
    $("object").replaceChildren(new Option("all objects and none", ""), ...options);
    const wanted = image.objects.flatMap((o, i) => isWanted(o) ? [i] : []);
    $("object").value = wanted.at(last ? -1 : 0) ?? "";
    update();
  }

  // To the next or previous object, and from the last of an image to the first of the next.
  function step(by) {
    const wanted = image.objects.flatMap((o, i) => isWanted(o) ? [i] : []);
    const now = $("object").value === "" ? (by > 0 ? -1 : wanted.length) : wanted.indexOf(+$("object").value);
    const next = wanted[now + by];
    if (next === undefined) {
      return open(order[(order.indexOf(image.place) + by + order.length) % order.length], by < 0);
    }
    $("object").value = next;
    chosen();
  }
  $("next").onclick = () => step(1);
  $("previous").onclick = () => step(-1);

  // Not scrollIntoView, which scrolls the page too and moves the place that Tab goes on from.
  function reveal(button, box) {
    const bottom = button.offsetTop + button.offsetHeight - box.clientHeight;
    box.scrollTop = Math.min(Math.max(box.scrollTop, bottom), button.offsetTop);
  }

  // States, mining and what follows from them

  function value(id) { return $(id) ? +$(id).value : 2; }  // 2: an IoU that nothing reaches

  function update() {
    states = matchStates(image, value("positive"), value("negative"), data.rule.strict);
    const mined = data.losses ? hardNegatives(image, states, value("ratio"), data.miner.least)
      : { hard: new Uint8Array(states.length), exact: true };
    kinds = kindsOf(image, states, mined.hard, data.rule.byIou);
    const counts = names.map((_, kind) => kinds.reduce((sum, k) => sum + (k === kind), 0));
    counts.forEach((count, kind) => { if ($(`count${kind}`)) $(`count${kind}`).textContent = count; });
    lacking = image.objects.map((o, i) => !o.ignore && !states.some((s, a) => s === 1 && image.target[a] === i));
    const none = lacking.filter(Boolean).length;
    if ($("inexact")) $("inexact").hidden = mined.exact && value("negative") >= image.least;
    const objects = image.objects.filter(o => !o.ignore).length;
    $("summary").textContent = `${counts[0] + counts[1]} positives for ${objects} objects, ` +
      `${none || "none"} without any` + (data.losses ? share() : "");
    canvas.dataset.states = counts.join(" ");
    if (at >= 0 && !shown.has(kinds[at])) at = -1;
    chosen(false);
  }

  function share() {
    let positive = 0, negative = 0;
    kinds.forEach((kind, i) => {
      if (kind < 2) positive += image.object[i];
      if (kind === 2) negative += image.background[i];
    });
    const total = positive + negative;
    return "; of the classification loss of positives and hard negatives " +
      `${Math.round(100 * positive / (total || 1))} % is the positives'`;
  }

  for (const id of ["positive", "negative", "ratio"]) {
    if (!$(id)) continue;
    $(id).oninput = () => {
      if (id === "positive") $("negative").value = Math.min(value("negative"), value("positive"));
      if (id === "negative") $("positive").value = Math.max(value("negative"), value("positive"));
      label();
      update();
    };
  }
  function label() {
    for (const id of ["positive", "negative", "ratio"]) if ($(id)) $(`${id}-value`).value = $(id).value;
  }
  if ($("reset")) $("reset").onclick = () => {
    const start = { positive: data.rule.positive, negative: data.rule.negative, ratio: data.miner.ratio };
    for (const id in start) if ($(id)) $(id).value = start[id];
    label();
    update();
  };
  for (const box of document.querySelectorAll("[data-kind]")) {
    box.onchange = () => {
      box.checked ? shown.add(+box.dataset.kind) : shown.delete(+box.dataset.kind);
      draw();
    };
  }
  for (const id of ["order", "only", "class", "size"]) $(id).onchange = list;

  // The picture

  function place([x0, y0, x1, y1], size) {
    const [sx, sy] = [canvas.width / size[0], canvas.height / size[1]];
    return [(x0 * sx - view.x) * view.scale, (y0 * sy - view.y) * view.scale,
      (x1 * sx - view.x) * view.scale, (y1 * sy - view.y) * view.scale];
  }

  function corners(i) { return place(image.boxes.subarray(4 * i, 4 * i + 4), [4 * data.size, 4 * data.size]); }
  function outline(object) { return place(object.box, [data.size, data.size]); }

  function frame([x0, y0, x1, y1], color, width, dash = [], alpha = 1) {
    pen.globalAlpha = alpha;
    pen.setLineDash(dash);
    const [w, h] = [Math.max(x1 - x0, 3), Math.max(y1 - y0, 3)];
    for (const [stroke, line] of [["#0006", width + 1], [color, width]]) {
      pen.strokeStyle = stroke;
      pen.lineWidth = line;
      pen.strokeRect(x0, y0, w, h);
    }
    pen.globalAlpha = 1;
  }

  // The chosen object, or the one of the anchor that is told about; -1: none.
  function subject() { return $("object").value === "" ? (at < 0 ? -1 : image.target[at]) : +$("object").value; }

  function look() {
    view = { x: 0, y: 0, scale: 1 };
    const object = image.objects[$("object").value];
    if (!object || !$("zoom").checked) return;
    const near = [...kinds.keys()].filter(i => kinds[i] < 2 && image.target[i] === +$("object").value);
    view = closeUp([outline(object), ...near.map(corners)], canvas.width, canvas.height);
  }

  function draw() {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.globalAlpha = 0.75;
    const [w, h] = [canvas.width * view.scale, canvas.height * view.scale];
    if (picture.complete) pen.drawImage(picture, -view.x * view.scale, -view.y * view.scale, w, h);
    pen.globalAlpha = 1;
    const owner = subject();
    if ($("objects").checked) {
      image.objects.forEach((o, i) => {
        if (i !== owner) frame(outline(o), "#fff", 1, lacking[i] ? [3, 5] : [], 0.7);
      });
    }
    const anchors = visible();
    for (const kind of [4, 3, 2]) {
      for (const i of anchors) if (kinds[i] === kind) frame(corners(i), colors[kind], 1.2, dashes[kind]);
    }
    const own = anchors.filter(i => kinds[i] < 2).sort((a, b) => image.iou[a] - image.iou[b]);
    const strength = $("object").value === "" ? own.map(() => 0.5) : strengths(own.map(i => image.iou[i]));
    own.forEach((i, n) => {
      frame(corners(i), colors[kinds[i]], 1 + 2.5 * strength[n] ** 3, dashes[kinds[i]], 0.35 + 0.65 * strength[n]);
    });
    if ($("objects").checked && owner >= 0) frame(outline(image.objects[owner]), "#fff", 3, lacking[owner] ? [3, 5] : []);
    if (at >= 0) frame(corners(at), colors[kinds[at]], 4);
  }
  $("objects").onchange = draw;
  $("object").onchange = () => chosen();
  $("zoom").onchange = () => chosen(false);

  // What follows from the object that is chosen; `anew`: it is another one, of which no anchor is told about.
  function chosen(anew = true) {
    if (anew) at = -1;
    look();
    const i = $("object").value === "" ? -1 : +$("object").value, object = image.objects[i];
    $("object-told").textContent = object ? sentence(object, i) : image.objects.length ? "" : "An image without objects.";
    draw();
    tell();
  }

  function sentence(object, i) {
    const [x0, y0, x1, y1] = object.box, size = `${(x1 - x0).toFixed(0)} × ${(y1 - y0).toFixed(0)} px of the input`;
    const start = `Object ${i + 1} of ${image.objects.length}: ${data.classes[object.label]}, ${size}`;
    if (object.ignore) return `${start}; ignored`;
    const count = [...kinds.keys()].filter(a => kinds[a] < 2 && image.target[a] === i).length;
    const anchors = count ? `${count} anchor${count === 1 ? "" : "s"} answer${count === 1 ? "s" : ""} for it` : "no anchor answers for it";
    return `${start}; ${anchors}, best IoU ${object.best.toFixed(2)}`;
  }

  // The anchor that is told about

  function visible() {
    const object = $("object").value;
    return [...kinds.keys()].filter(i => shown.has(kinds[i]) && (object === "" || image.target[i] === +object));
  }

  canvas.onmousemove = event => {
    const area = canvas.getBoundingClientRect(), scale = canvas.width / area.width;
    const x = (event.clientX - area.left) * scale, y = (event.clientY - area.top) * scale;
    let best = -1, least = 10 * scale;
    for (const i of visible()) {
      const [x0, y0, x1, y1] = corners(i);
      const out = Math.hypot(Math.max(x0 - x, 0, x - x1), Math.max(y0 - y, 0, y - y1));
      const distance = out || Math.min(x - x0, x1 - x, y - y0, y1 - y);
      if (distance < least) [best, least] = [i, distance];
    }
    choose(best);
  };
  canvas.onmousedown = canvas.onmousemove;

  canvas.onkeydown = event => {
    const turn = { ArrowRight: 1, ArrowLeft: -1 }[event.key], by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!turn && !by) return;
    event.preventDefault();
    if (turn) return step(turn);
    const anchors = visible().sort((a, b) => data.losses ? loss(b) - loss(a) : image.iou[b] - image.iou[a]);
    const next = Math.max(anchors.indexOf(at), by < 0 ? 0 : -1) + by + anchors.length;
    if (anchors.length) choose(anchors[next % anchors.length]);
  };

  function loss(i) { return states[i] === 1 ? image.object[i] + image.box[i] : image.background[i]; }

  function choose(i) {
    if (i === at) return;
    at = i;
    draw();
    tell();
  }

  function tell() {
    if (at < 0) {
      return show([["", "Point at an anchor's edge; or in the picture, arrow keys: left and right for the objects, up and down for the anchors."]]);
    }
    const object = image.objects[image.target[at]], [x0, y0, x1, y1] = image.boxes.subarray(4 * at, 4 * at + 4);
    const lines = [["state", names[kinds[at]] + (image.fixed[at] && data.rule.byIou ? " (forced)" : "")],
      ["target", object ? `${data.classes[object.label]}, object ${image.target[at] + 1}` : "none"],
      ["IoU", object ? image.iou[at].toFixed(3) : `with no object ${data.least} or more`],
      ["anchor", `${(x1 - x0) / 4} × ${(y1 - y0) / 4} px`],
      ["level", `${image.level[at] + 1}, stride ${data.strides[image.level[at]]}`]];
    if (data.losses) {
      const parts = states[at] === 1 ? [[image.object[at], "class"], [image.box[at], "box"]]
        : states[at] === 0 ? [[image.background[at], "class"]] : [];
      lines.push(["loss", parts.map(([x, name]) => `${x.toPrecision(3)} ${name}`).join(" + ") || "none"],
        ["says", `${data.classes[image.says[at]]} ${image.pred[at].toFixed(2)}` +
          (object ? `; ${data.classes[object.label]} ${image.score[at].toFixed(2)}` : "")],
        ["in this recipe", image.counted[at] ? "its classification counts" : "it doesn't count"]);
    }
    show(lines);
  }

  function show(lines) {
    $("told").replaceChildren(...lines.flatMap(([name, text]) => {
      const [term, value] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, value.textContent] = [name, text];
      return name ? [term, value] : [value];
    }));
  }

  label();
  list();
}
