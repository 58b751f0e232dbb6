// Fills the page of the account from /me and what is below it. The forms are off until then.
import { call } from "../playground/api.js";
import { byId, element, fail } from "../playground/dom.js";
import { showAudit } from "./audit.js";
import { showKeys } from "./keys.js";
import { showCredits, showDecisions, showLimits, showRequests } from "./limits.js";
import { showFactor } from "./security.js";
import { showSessions } from "./sessions.js";
import { prepareUsage, showUsage } from "./usage.js";

// what every user may do without being an administrator
const OWN = ["public", "infer", "self"];

try {
  const me = await call("GET", "/me");
  // names may be written from right to left
  byId("who").replaceChildren("Signed in as ", element("bdi", { textContent: me.display_name || me.name }), `, with the role ${me.role}.`);
  byId("administer").hidden = me.permissions.every((one) => OWN.includes(one));
  showDecisions(me.unseen_decisions);
  const names = await showKeys();
  prepareUsage(names);
  await Promise.all([showCredits(), showLimits(), showRequests(), showUsage(names), showAudit(), showFactor(), showSessions()]);
  for (const group of document.querySelectorAll("fieldset.off")) group.disabled = false;
  byId("account").dataset.ready = "true";
} catch (error) {
  fail(error);
}
