// Dialogs: forms, confirmations, and secrets that are shown once. They are the browser's own, so
// Escape closes them and the keyboard stays inside.
import { byId, call, element, sentence } from "./ui.js";

const dialog = byId("dialog");
let current = () => {};

// Shows a dialog until `close` is called, and gives what it was called with; null: cancelled.
function open(fill, broad = false) {
  dialog.classList.toggle("broad", broad);
  return new Promise((resolve) => {
    // at once: the event comes later, and would be taken for that of a dialog opened meanwhile
    const close = (value) => {
      current = () => {};
      dialog.close();
      dialog.replaceChildren(); // a secret does not stay in the page
      resolve(value);
    };
    current = close;
    dialog.replaceChildren(...fill(close));
    dialog.showModal();
  });
}

export const closeDialog = () => current(null);

dialog.addEventListener("cancel", (event) => {
  event.preventDefault();
  closeDialog();
});
// browsers may close a dialog without asking, as for a second Escape
dialog.addEventListener("close", () => dialog.open || closeDialog());

const heading = (text) => element("h2", { id: "dialog-title", textContent: text });

function cancel(close, text = "Cancel") {
  const made = element("button", { type: "button", textContent: text });
  made.addEventListener("click", () => close(null));
  return made;
}

// Fields: {name, label, type, value, hint, required, options, min, max}.
function input(field) {
  const { name, type = "text", value = "", required = false } = field;
  if (type === "select") {
    const options = field.options.map(([id, text]) => element("option", { value: id, textContent: text, selected: id === value }));
    return element("select", { name, required }, ...options);
  }
  if (type === "area") return element("textarea", { name, value, rows: 3, required, maxLength: field.max ?? 2000 });
  const made = element("input", { name, type: type === "lookup" ? "text" : type, required, autocomplete: "off" });
  if (type === "checkbox") made.checked = Boolean(value);
  else made.value = value ?? "";
  if (type === "number") Object.assign(made, { min: field.min ?? 0, max: field.max ?? "", step: field.step ?? 1 });
  else if (field.max) made.maxLength = field.max;
  if (field.placeholder) made.placeholder = field.placeholder;
  return made;
}

function labelled(field) {
  if (field.type === "checks") {
    const chosen = new Set(field.value ?? []);
    const boxes = field.options.map((one) => element("label", {}, element("input", { type: "checkbox", name: field.name, value: one, checked: chosen.has(one) }), one));
    return element("fieldset", {}, element("legend", { textContent: field.label }), ...boxes);
  }
  const made = input(field);
  made.id = `field-${field.name}`;
  // beside the label, or a screen reader reads the hint as a part of the name
  const hint = field.hint ? [element("small", { textContent: field.hint, id: `hint-${field.name}` })] : [];
  if (field.hint) made.setAttribute("aria-describedby", `hint-${field.name}`);
  const label = element("label", { htmlFor: made.id, textContent: field.label });
  if (field.type === "checkbox") return element("div", { className: "field check" }, made, label, ...hint);
  const box = element("div", { className: "field" }, label, made, ...hint);
  if (field.type === "lookup") suggest(field, made, box);
  return box;
}

// Offers the names that contain what was typed; the last answer wins.
function suggest(field, made, box) {
  const list = element("datalist", { id: `list-${field.name}` });
  made.setAttribute("list", list.id);
  box.append(list);
  let asked = 0;
  made.addEventListener("input", async () => {
    const mine = (asked += 1);
    if (!made.value.trim()) return;
    const page = await call("GET", `/admin/${field.kind()}?limit=10&search=${encodeURIComponent(made.value.trim())}`).catch(() => null);
    if (page && mine === asked) list.replaceChildren(...page.data.map((one) => element("option", { value: one.name, label: one.display_name || one.id })));
  });
}

// The id of what a lookup names: by its exact name, or by its id.
export async function resolve(kind, text) {
  if (!text) return null;
  const page = await call("GET", `/admin/${kind}?limit=20&search=${encodeURIComponent(text)}`);
  const same = page.data.filter((one) => one.name === text || one.id === text);
  if (same.length === 1) return same[0].id;
  if (same.length > 1) throw new Error(`Several ${kind} have the name '${text}': enter the id.`);
  throw new Error(`The ${kind} do not include '${text}': check the name.`);
}

const words = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);

async function read(form, fields) {
  const values = {};
  for (const field of fields) {
    const made = form.elements[field.name];
    if (field.type === "checks") values[field.name] = [...form.querySelectorAll(`input[name="${field.name}"]:checked`)].map((one) => one.value);
    else if (field.type === "checkbox") values[field.name] = made.checked;
    else if (field.type === "lookup") values[field.name] = await resolve(field.kind(form), made.value.trim());
    else if (field.type === "number") values[field.name] = made.value === "" ? null : Number(made.value);
    else if (field.type === "datetime-local") values[field.name] = made.value ? Math.floor(new Date(made.value).getTime() / 1000) : null;
    else if (field.words) values[field.name] = made.value.trim() ? words(made.value) : null;
    else values[field.name] = made.value.trim();
  }
  return values;
}

// What a datetime-local field shows of an instant, in the viewer's zone.
export function localTime(seconds) {
  if (!seconds) return "";
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

// What differs from an object before; an empty text is the same as nothing.
export function changes(values, before) {
  const text = (value) => JSON.stringify(value || (value === 0 || value === false ? value : null));
  return Object.fromEntries(Object.entries(values).filter(([name, value]) => text(value) !== text(before[name])));
}

// A form whose `run` gets the values; it stays open, with the reason, while `run` fails.
export function ask({ title, about, fields, verb, run, danger = false }) {
  return open((close) => {
    const problem = element("p", { className: "error", hidden: true });
    problem.setAttribute("role", "alert");
    const submit = element("button", { type: "submit", className: danger ? "main danger" : "main", textContent: verb });
    const form = element("form", {}, ...(about ? [element("p", { className: "quiet", textContent: about })] : []));
    for (const field of fields) {
      if (field.type === "lookup" && !(field.kind instanceof Function)) {
        const kind = field.kind;
        field.kind = () => kind;
      } else if (field.type === "lookup") {
        const of = field.kind;
        field.kind = () => of(form);
      }
      form.append(labelled(field));
    }
    form.append(problem, element("div", { className: "buttons" }, cancel(close), submit));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (submit.disabled) return;
      submit.disabled = true;
      problem.hidden = true;
      try {
        close((await run(await read(form, fields))) ?? true);
      } catch (error) {
        problem.textContent = sentence(error.message);
        problem.hidden = false;
        // the API's errors begin with the field's name
        const field = /^'(\w+)'/.exec(error.message)?.[1];
        (form.elements[field] ?? submit).focus?.();
      } finally {
        submit.disabled = false;
      }
    });
    return [heading(title), form];
  });
}

// Asks before something is destroyed. `lost`: what is gone afterwards, one sentence each.
export function confirm({ title, lost, verb, run }) {
  return open((close) => {
    const problem = element("p", { className: "error", hidden: true });
    problem.setAttribute("role", "alert");
    const yes = element("button", { type: "button", className: "main danger", textContent: verb });
    yes.addEventListener("click", async () => {
      yes.disabled = true;
      problem.hidden = true;
      try {
        close((await run()) ?? true);
      } catch (error) {
        problem.textContent = sentence(error.message);
        problem.hidden = false;
        yes.disabled = false;
      }
    });
    const no = cancel(close);
    no.autofocus = true; // a key that is pressed by mistake destroys nothing
    const list = element("ul", {}, ...lost.map((text) => element("li", { textContent: text })));
    return [heading(title), list, problem, element("div", { className: "buttons" }, no, yes)];
  });
}

// Something that is shown only once.
export function reveal(title, about, text) {
  return open((close) => {
    const shown = element("pre", { className: "secret", tabIndex: 0, textContent: text });
    const copy = element("button", { type: "button", textContent: "Copy" });
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text).catch(() => {});
      copy.textContent = "Copied";
    });
    return [heading(title), element("p", { textContent: about }), shown, element("div", { className: "buttons" }, copy, cancel(close, "Done"))];
  });
}

export function details(title, ...content) {
  return open((close) => {
    // the title and not a button of the content, which may be far below or destroy something
    const first = Object.assign(heading(title), { tabIndex: -1, autofocus: true });
    return [first, ...content, element("div", { className: "buttons" }, cancel(close, "Close"))];
  }, true);
}
