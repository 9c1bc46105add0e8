// Applies the chosen colours before the page is drawn, so that they do not flash. Not a module,
// because modules run later. The rest is in shell/theme.js.
{
  let theme = null;
  try {
    theme = localStorage.getItem("agent.theme");
  } catch {
    // the browser forbids storage: the colours stay those of the system
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
