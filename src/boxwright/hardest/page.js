// Filters the suspects, and saves the correction list with what was accepted.
(() => {
  const form = document.getElementById("controls");
  const cards = [...document.querySelectorAll("article")];
  const list = JSON.parse(document.getElementById("list").textContent);

  function show() {
    const kind = form.elements.kind.value, name = form.elements.class.value;
    let shown = 0;
    for (const card of cards) {
      const { kind: own, class: label, other } = card.dataset;
      card.hidden = (kind && kind !== own) || (name && name !== label && name !== other);
      shown += !card.hidden;
    }
    const accepted = document.querySelectorAll("article input:checked").length;
    document.getElementById("count").textContent = `${shown} shown, ${accepted} accepted`;
  }

  function save() {
    delete list.generator; // what is accepted is its reader's, not boxwright's
    for (const box of document.querySelectorAll("article input")) {
      list.corrections[box.value].accepted = box.checked;
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(list, null, 1)], { type: "application/json" }));
    link.download = "corrections.json";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("change", show);
  document.getElementById("save").addEventListener("click", save);
  show();
})();
