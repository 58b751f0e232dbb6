// Where the user is signed in. A browser is recognised by its name and its system, the whole text is on pointing.
import { call } from "../playground/api.js";
import { byId, element } from "../playground/dom.js";
import { action, confirmed, counted, empty, moment, table } from "./parts.js";

const BROWSERS = [["Edge", /\bEdgA?\//], ["Opera", /\bOPR\//], ["Firefox", /\bFirefox\//], ["Chrome", /\b(Headless)?Chrome\//], ["Safari", /\bSafari\//]];
const SYSTEMS = [["Android", /Android/], ["iPhone", /iPhone/], ["iPad", /iPad/], ["Windows", /Windows/], ["macOS", /Mac OS X/], ["ChromeOS", /CrOS/], ["Linux", /Linux/]];
const first = (list, text) => list.find(([, pattern]) => pattern.test(text))?.[0];

function where(one) {
  const browser = first(BROWSERS, one.user_agent);
  const system = first(SYSTEMS, one.user_agent);
  const name = browser && system ? `${browser} on ${system}` : browser ?? one.user_agent.slice(0, 40);
  const small = element("small", { textContent: one.address ? `from ${one.address}` : "unknown address" });
  return element("span", { title: one.user_agent }, name || "Unknown browser", element("br"), small);
}

function ending(one) {
  if (one.current) return element("b", { textContent: "This browser" });
  return action("End", `the session of ${new Date(one.created_at * 1000).toLocaleString()}`, async () => {
    await call("DELETE", `/me/sessions/${one.id}`);
    await showSessions();
  });
}

export async function showSessions() {
  const { data } = await call("GET", "/me/sessions");
  const rows = data.map((one) => [where(one), moment(one.created_at), moment(one.last_used_at), moment(one.expires_at), ending(one)]);
  byId("sessions").replaceChildren(
    data.length ? table("Table of sessions", ["Browser", "Signed in", "Last used", "Ends at the latest", "Actions"], rows) : empty("This account has no browser sessions."),
  );
  const others = data.filter((one) => !one.current).length;
  byId("end-others").hidden = !others;
  byId("end-others").textContent = `End ${counted(others, "other session")}`;
}

byId("end-others").addEventListener("click", async () => {
  if (!(await confirmed("End all other sessions? They must sign in again. Keys stay valid."))) return;
  const { ended } = await call("POST", "/me/sessions/end-others");
  byId("sessions-note").textContent = `${counted(ended, "session")} ended.`;
  await showSessions();
});
