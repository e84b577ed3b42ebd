// Runs once in the picker (gr.HTML provides element, trigger and props). One input opens the camera, the other the file dialog;
// drop and paste work too. File names are not sent to the server.
const send = async (file) => {
  if (!file || element.dataset.busy) return;
  if (file.size > Number(props.max_bytes)) return trigger("refused", { reason: "image_too_large" });
  element.dataset.busy = "1";
  try {
    const response = await fetch("page/uploads", { method: "POST", body: file });
    const body = await response.json();
    if (response.ok) trigger("picked", { token: body.token });
    else trigger("refused", { reason: body.code });
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
  input.value = "";  // allow choosing the same file again
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
  if (!file) return;  // let the browser paste text
  event.preventDefault();
  send(file);
});
