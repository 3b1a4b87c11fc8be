// Keys work at once, without a click into the terminal first.
const focus = () => document.querySelector(".xterm-helper-textarea")?.focus();
const seen = new MutationObserver(() => {
  if (document.body.classList.contains("-first-byte")) {
    seen.disconnect();
    focus();
    addEventListener("focus", focus);
  }
});
addEventListener("load", () => seen.observe(document.body, { attributes: true }));
