// Runs once in the picker (gr.HTML provides element, trigger and props). One input opens the camera, the other the file dialog;
// drop and paste work too. File names are not sent to the server.
//
// The newest file wins, and so does the newest action (a tap on Read or on a preset). `data-upload` of the document says why no action
// can start now. "sending": a file is being uploaded or opened; the action waits for it. "failed": the file was refused, and the
// server may not know yet that the previous picture must not be read.
const root = document.documentElement;
const MAX_WAIT_MS = 60000;  // without an answer of the server an action waits no longer
let newest = 0, opening = 0, action = null, running = null, reason = "", since = 0;

const setPending = (button) => {
  action?.classList.remove("pending");
  action = button;
  action?.classList.add("pending");
};
const setState = (state) => {
  if (state) root.dataset.upload = state;
  else delete root.dataset.upload;
};
const refuse = (code) => {
  reason = code;
  setPending(null);
  setState("failed");
  trigger("refused", { reason });
};
const send = async (file) => {
  if (!file) return;
  const number = ++newest;
  running?.abort();
  running = new AbortController();
  if (file.size > Number(props.max_bytes)) {
    delete element.dataset.busy;
    return refuse("image_too_large");
  }
  setState("sending");
  element.dataset.busy = "1";
  try {
    const response = await fetch("page/uploads", { method: "POST", body: file, signal: running.signal });
    const body = await response.json();
    if (number !== newest) return;
    if (response.ok) {
      opening += 1;
      since = Date.now();
      trigger("picked", { token: body.token });
    } else refuse(body.code);
  } catch (error) {
    if (number !== newest) return;
    console.error(error);
    refuse("network");
  } finally {
    if (number === newest) delete element.dataset.busy;
  }
};

document.addEventListener("upload-opened", () => {
  opening -= 1;
  if (opening > 0 || root.dataset.upload !== "sending" || element.dataset.busy) return;  // a newer file follows
  setTimeout(() => {  // the preview is rendered
    if (opening > 0 || root.dataset.upload !== "sending" || element.dataset.busy) return;
    setState("");
    const pending = action;
    setPending(null);
    if (document.querySelector("#picture img")) pending?.click();
  }, 100);
});
document.addEventListener("upload-refused", () => { if (root.dataset.upload === "failed") setState(""); });

const hold = (event, button) => {
  if (root.dataset.upload === "sending" && !element.dataset.busy && Date.now() - since > MAX_WAIT_MS) {
    opening = 0;
    setState("");
  }
  if (!root.dataset.upload) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (root.dataset.upload === "sending") setPending(button);
  else refuse(reason);  // tell the server again: the connection may have been down
};
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("#read, #presets button");
  if (button) hold(event, button);
}, true);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.closest?.("#instruction")) hold(event, document.querySelector("#read"));
}, true);

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
