for (const button of document.querySelectorAll(".call button")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.closest(".call").querySelector("pre");
    if (code.whole) code.textContent = code.whole; // what is shown may be shortened
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected: press Ctrl+C"; // plain http has no clipboard
    }
  });
}
