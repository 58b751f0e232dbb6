// Sets the theme before the first paint, so that a dark page does not flash white. Names the zone of times.
const root = document.documentElement;
const saved = () => {
  try {
    return localStorage.getItem("theme") ?? "";
  } catch {
    return ""; // storage is switched off
  }
};
root.dataset.theme = saved();
addEventListener("DOMContentLoaded", () => {
  document.getElementById("zone").textContent = ` · times are in the zone ${Intl.DateTimeFormat().resolvedOptions().timeZone}, where no other one is named`;
  const choice = document.getElementById("theme");
  choice.value = saved();
  choice.parentElement.hidden = false;
  choice.addEventListener("change", () => {
    root.dataset.theme = choice.value;
    try {
      localStorage.setItem("theme", choice.value);
    } catch {
      // it holds for this page
    }
  });
});
