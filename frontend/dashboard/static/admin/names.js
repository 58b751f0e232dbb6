// Names for ids, asked for a page at a time and kept. Who may not read them sees the ids.
import { call, code, element, may, quiet } from "./ui.js";

const NEEDED = { users: "users", groups: "groups", organisations: "groups", keys: "keys", plans: "quotas" };
const known = new Map();

// A function that shows the name of an id of this kind.
export async function names(kind, ids) {
  const missing = [...new Set(ids)].filter((id) => id && !known.has(`${kind}/${id}`));
  if (may(NEEDED[kind])) {
    for (let at = 0; at < missing.length; at += 50) {
      const part = missing.slice(at, at + 50);
      const page = await call("GET", `/admin/${kind}?limit=50&ids=${encodeURIComponent(part.join(","))}`);
      for (const one of page.data) known.set(`${kind}/${one.id}`, one.name);
      for (const id of part) if (!known.has(`${kind}/${id}`)) known.set(`${kind}/${id}`, null);
    }
  }
  return (id) => {
    if (!id) return "–";
    const name = known.get(`${kind}/${id}`);
    return name ? element("span", { textContent: name, title: id }) : code(id);
  };
}
