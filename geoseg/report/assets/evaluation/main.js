"use strict";

// Builds the page from its data, and again when another reference is selected.

(() => {
  const { evaluations, counts, scenes: shown, rule, learning: log, provenance, card: modelCard } = page.data;
  let chosen = evaluations[0];

  function draw() {
    const others = evaluations.filter((one) => one !== chosen);
    headline(chosen, others);
    classTables(chosen);
    objectTables(chosen);
    confusionMatrix(chosen);
    curves();
    threshold(chosen);
    distribution(chosen, counts);
    scenes(chosen, shown, rule);
    for (const place of document.querySelectorAll(".reference-name")) place.textContent = chosen.truth;
  }

  function curves() {
    const drawn = [];
    if (chosen.calibration?.bins?.some((bin) => bin.pixels)) drawn.push(reliability(chosen.calibration));
    if (chosen.spread) drawn.push(sceneHistogram(chosen.spread));
    if (log?.length > 1) drawn.push(learning(log));
    byId("curves").hidden = !drawn.length;
    byId("charts").replaceChildren(...drawn);
  }

  if (evaluations.length > 1) {
    const options = evaluations.map((one, place) => [String(place), one.truth]);
    const choose = (place) => {
      chosen = evaluations[place];
      draw();
    };
    byId("reference").replaceChildren(radios("reference", "Ground truth", options, "0", choose));
  }
  byId("facts").replaceChildren(...provenance.map(facts));
  byId("card").hidden = !modelCard;
  byId("card-text").textContent = JSON.stringify(modelCard, null, 2);
  draw();
  byId("main").classList.add("drawn");
})();

/** Group of facts about the provenance of the scores: [title, [[name, text], …]]. */
function facts([title, lines]) {
  return el(
    "section",
    {},
    el("h3", { text: title }),
    el("dl", {}, lines.flatMap(([name, text]) => [el("dt", { text: name }), el("dd", { text })])),
  );
}
