// The tabs, the list of models, and the key.
import { call, hasSession, models, setKey } from "./api.js";
import { byId, element, fail, onSubmit } from "./dom.js";
import { setUpChat } from "./chat.js";
import { setUpCompletion } from "./completion.js";
import { setUpEmbeddings } from "./embeddings.js";
import { setUpImages } from "./images.js";

const NEEDED = { chat: "chat", completion: "completion", embeddings: "embedding", images: "image" };

function setUpTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const open = (chosen) => {
    for (const tab of tabs) {
      const on = tab === chosen;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = !on;
    }
    fail(null);
  };
  for (const [number, tab] of tabs.entries()) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(number + step + tabs.length) % tabs.length];
      open(next);
      next.focus();
    });
  }
}

// A form can be sent from here on: until then its button is off, as a request needs a model.
async function listModels() {
  const known = await models();
  for (const select of document.querySelectorAll("[data-models]")) {
    const able = known.filter((one) => one.capabilities.includes(NEEDED[select.dataset.models]));
    const options = able.map((one) => element("option", { value: one.id, textContent: one.id }));
    if (!options.length) {
      options.push(element("option", { value: "", textContent: "no such model is served" }));
    }
    select.replaceChildren(...options);
    select.closest("[role=tabpanel]").querySelector(".compose [type=submit]").disabled =
      !able.length;
    select.models = new Map(able.map((one) => [one.id, one]));
    select.dispatchEvent(new Event("change"));
  }
}

// The key form is shown by the first answer that asks for one.
async function start() {
  await listModels();
  if (!hasSession()) return;
  const { name } = await call("GET", "/me");
  byId("counts").textContent = `Signed in as ${name}: requests count for this account.`;
  byId("counts").hidden = false;
}

// below the settings, the conversation would begin off the screen
if (matchMedia("(max-width: 50rem)").matches) document.querySelector(".parameters").open = false;
setUpTabs();
setUpChat(byId("panel-chat"));
setUpCompletion(byId("panel-completion"));
setUpEmbeddings(byId("panel-embeddings"));
setUpImages(byId("panel-images"));
onSubmit(byId("key-form"), async () => {
  setKey(byId("key").value);
  await listModels();
});
start().catch(fail);
