// The password, the second factor, and signing out.
import { call } from "../playground/api.js";
import { byId, fail, onSubmit } from "../playground/dom.js";

export async function showFactor() {
  const { enabled, recovery_codes_left: left } = await call("GET", "/me/second-factor");
  byId("factor-state").textContent = enabled
    ? `On: signing in requires a code of the app after the password. ${left} recovery codes are left.`
    : "Off: signing in requires only the password.";
  byId("factor-start").hidden = enabled;
  byId("factor-remove").hidden = !enabled;
  byId("factor-confirm").hidden = true;
}

onSubmit(byId("factor-start"), async () => {
  const given = Object.fromEntries(new FormData(byId("factor-start")));
  const made = await call("POST", "/me/second-factor", given);
  byId("factor-start").reset();
  byId("factor-start").hidden = true;
  byId("qr").src = made.image;
  byId("secret").textContent = made.secret;
  byId("factor-confirm").hidden = false;
  byId("factor-confirm").querySelector("input").focus();
});

onSubmit(byId("factor-confirm"), async () => {
  const made = await call("POST", "/me/second-factor/confirm", Object.fromEntries(new FormData(byId("factor-confirm"))));
  byId("factor-confirm").reset();
  byId("recovery").hidden = false;
  byId("recovery").querySelector("pre").textContent = made.recovery_codes.join("\n");
  await showFactor();
  byId("recovery").querySelector("pre").focus();
});

onSubmit(byId("factor-remove"), async () => {
  await call("POST", "/me/second-factor/remove", Object.fromEntries(new FormData(byId("factor-remove"))));
  byId("factor-remove").reset();
  byId("recovery").hidden = true;
  await showFactor();
});

onSubmit(byId("password"), async () => {
  await call("POST", "/me/password", Object.fromEntries(new FormData(byId("password"))));
  location.assign("/login");
});

byId("sign-out").addEventListener("click", async () => {
  try {
    const { provider_logout: provider } = await call("POST", "/logout");
    location.assign(provider || "/login");
  } catch (error) {
    fail(error);
  }
});
