// Small helpers for elements. Text is always set as text: nothing that a model writes is markup.
export const byId = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// An error of the API as a sentence of its own; a field's name at its beginning stays as it is.
export const sentence = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

export function fail(error) {
  const place = byId("problem");
  place.hidden = error === null;
  place.textContent = error === null ? "" : sentence(error.message);
  if (error?.status !== 401) return;
  if (!byId("key-form")) {
    place.textContent = "Your session has ended. ";
    place.append(element("a", { href: `/login?next=${encodeURIComponent(location.pathname + location.search)}`, textContent: "Sign in again" }));
    return;
  }
  // what the API says is for programs
  if (!byId("key").value) place.textContent = "This gateway requires a key: enter one above, or sign in.";
  byId("key-form").hidden = false;
  byId("key").focus();
}

// The fields of a form that are filled in, as numbers where they are.
export function values(form) {
  const filled = {};
  for (const field of form.elements) {
    if (!field.name || field.value === "") continue;
    filled[field.name] = field.type === "number" ? Number(field.value) : field.value;
  }
  return filled;
}

export function json(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what}: not valid JSON: ${error.message}`);
  }
}

// Runs an action of a form with its button off, so that no second one starts beside it.
export function onSubmit(form, action) {
  const button = form.querySelector("button[type=submit]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    fail(null);
    try {
      await action();
    } catch (error) {
      if (error.name !== "AbortError") fail(error);
    } finally {
      button.disabled = false;
    }
  });
}
