// Runs before the first paint: a theme chosen by hand overrides the system's.
"use strict";
(() => {
  const order = ["system", "light", "dark"];
  const chosen = () => localStorage.getItem("sprat-theme") || "system";
  const apply = () => {
    if (chosen() === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen();
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${chosen()}`;
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme")?.addEventListener("click", () => {
      localStorage.setItem("sprat-theme", order[(order.indexOf(chosen()) + 1) % order.length]);
      apply();
    });
  });
})();
