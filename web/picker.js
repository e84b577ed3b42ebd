// Runs once in the picker (element, trigger and props come from gr.HTML). One input opens the camera, one the files; dropping and
// pasting end in the same place. Names of files stay in the browser.
const send = async (file) => {
  if (!file || element.dataset.busy) return;
  if (file.size > Number(props.max_bytes)) return trigger("refused", { reason: "image_too_large" });
  element.dataset.busy = "1";
  try {
    const answer = await fetch("page/uploads", { method: "POST", body: file });
    const told = await answer.json();
    if (answer.ok) trigger("picked", { token: told.token });
    else trigger("refused", { reason: told.code });
  } catch (error) {
    console.error(error);
    trigger("refused", { reason: "network" });
  } finally {
    delete element.dataset.busy;
  }
};

element.addEventListener("change", (event) => {
  const input = event.target;
  if (input.type !== "file") return;
  send(input.files[0]);
  input.value = "";  // the same file may be chosen again
});
element.addEventListener("keydown", (event) => {
  if (event.target.tagName === "LABEL" && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    event.target.click();
  }
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  element.addEventListener(kind, (event) => {
    event.preventDefault();
    element.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") send(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (!file) return;  // words go where the cursor is
  event.preventDefault();
  send(file);
});
