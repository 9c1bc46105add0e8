// Runs before the page is drawn, so that chosen colours do not flash. No module, for modules wait.
// The rest of it is in theme.js.
{
  let theme = null;
  try {
    theme = localStorage.getItem("agent.theme");
  } catch {
    // the browser forbids storage: the system's colours
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
