// Requests for keys and for more: approve or refuse.
import { badge, button, call, count, may, moment, quiet } from "./ui.js";
import { list, show } from "./list.js";
import { ask, localTime } from "./forms.js";
import { groupField, per, roleField } from "./choices.js";

const STATES = { name: "status", label: "Status", options: [["", "all"], ["pending", "pending"], ["approved", "approved"], ["refused", "refused"]] };

const refuse = (path, title) => async (again) => {
  const fields = [{ name: "note", label: "Reason", type: "area", hint: "The applicant sees it." }];
  if (await ask({ title, fields, verb: "Refuse", run: (values) => call("POST", `${path}/refuse`, values) })) await again("Refused the request.");
};

const keyRequests = list({
  title: "Requests for a key",
  prefix: "k-",
  label: "Table of requests for keys",
  path: "/admin/key-requests",
  fixed: { order: "newest" },
  filters: [STATES, { name: "search", label: "Search", placeholder: "name or e-mail" }],
  heads: ["Applicant", "Reason", "Status", "Sent", "Decided"],
  none: "There are no requests for keys. People without an account request a key on the page /request-key, which the status page links to.",
  row: (one) => [[one.name, quiet(one.email)], one.reason, [badge(one.status), quiet(one.note ?? "")], moment(one.created_at), moment(one.decided_at, "–")],
  actions: (one, again) => (one.status !== "pending" ? [] : [
    button("Approve", async () => {
      const fields = [
        { name: "name", label: "Name of the account", value: one.name, required: true }, await roleField(), await groupField(),
        { name: "models", label: "Models", words: true, placeholder: "all", hint: "Separated by commas. Empty: all." },
        { name: "expires_at", label: "The key expires", type: "datetime-local", hint: "In your time zone. Empty: never." },
      ];
      const run = (values) => call("POST", `/admin/key-requests/${one.id}/approve`, { ...values, group_id: values.group_id || null });
      if (await ask({ title: `Approve the request of ${one.name}`, about: "The account is created, and the applicant's key becomes valid.", fields, verb: "Approve", run })) await again(`Approved the request of ${one.name}.`);
    }, { label: `Approve ${one.name}` }),
    button("Refuse", () => refuse(`/admin/key-requests/${one.id}`, `Refuse the request of ${one.name}`)(again), { label: `Refuse ${one.name}`, tone: "danger" }),
  ]),
});

const quotaRequests = list({
  title: "Requests for higher limits",
  prefix: "q-",
  label: "Table of requests for higher limits",
  path: "/admin/quota-requests",
  fixed: { order: "newest" },
  filters: [STATES],
  heads: ["User", "Asks for", "Model", "Reason", "Status", "Sent"],
  lookups: { users: (one) => one.user_id },
  none: "There are no requests for higher limits. Users send them on the page Account.",
  row: (one, of) => [of.users(one.user_id), `${count(one.amount)} ${per(one)}`, one.model ?? "all", one.reason, [badge(one.status), quiet(one.note ?? "")], moment(one.created_at)],
  actions: (one, again) => (one.status !== "pending" ? [] : [
    button("Approve", async () => {
      const fields = [
        { name: "amount", label: `Amount: ${per(one)}`, type: "number", value: one.amount, required: true },
        { name: "expires_at", label: "Ends", type: "datetime-local", value: localTime(one.expires_at), hint: "In your time zone. Empty: never." },
      ];
      const run = (values) => call("POST", `/admin/quota-requests/${one.id}/approve`, values);
      if (await ask({ title: "Approve the request", fields, verb: "Approve", run })) await again("Approved the request.");
    }, { label: `Approve ${count(one.amount)} ${per(one)}` }),
    button("Refuse", () => refuse(`/admin/quota-requests/${one.id}`, "Refuse the request")(again), { label: `Refuse ${count(one.amount)} ${per(one)}`, tone: "danger" }),
  ]),
});

await show(...[may("users") && keyRequests, may("quotas") && quotaRequests].filter(Boolean));
