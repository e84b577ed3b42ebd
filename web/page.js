// Runs once per page: selecting a row highlights its box; copy buttons copy text.
() => {
  const show = (mark) => {
    const sheets = mark.closest(".sheets");
    const box = mark.getBoundingClientRect(), pane = sheets.getBoundingClientRect();
    sheets.scrollBy({ top: box.top + box.height / 2 - pane.top - pane.height / 2, behavior: "smooth" });
    if (pane.top < 0 || pane.bottom > innerHeight) sheets.scrollIntoView({ block: "nearest", behavior: "smooth" });
  };
  const choose = (key) => {
    for (const row of document.querySelectorAll("[data-field]")) {
      row.classList.toggle("on", row.dataset.field === key);
      row.setAttribute("aria-pressed", row.dataset.field === key);
    }
    for (const mark of document.querySelectorAll("[data-box]")) {
      mark.classList.toggle("on", mark.dataset.box === key);
      if (mark.dataset.box === key) show(mark);
    }
  };
  const copy = async (button) => {
    const pre = button.parentElement.querySelector("pre");
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(pre.textContent);
    } else {  // browsers disable the clipboard on plain HTTP
      const selection = getSelection();
      selection.selectAllChildren(pre);
      document.execCommand("copy");
      selection.removeAllRanges();
    }
    const label = button.textContent;
    button.textContent = button.dataset.copied;
    setTimeout(() => { if (button.textContent === button.dataset.copied) button.textContent = label; }, 1500);
  };
  document.addEventListener("picture", () => {  // a result was rendered: scroll to the selected box
    const mark = document.querySelector(".mark.on");
    if (mark) show(mark);
  });
  document.addEventListener("click", (event) => {
    const row = event.target.closest("[data-field]"), mark = event.target.closest("[data-box]");
    if (row) choose(row.dataset.field);
    if (mark) choose(mark.dataset.box);
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches?.("[data-field]") && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      choose(event.target.dataset.field);
    }
  });
}
