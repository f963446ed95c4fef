// Runs before the first paint, and so is no module: the page never flashes in the wrong colours.
try {
  const theme = JSON.parse(localStorage.getItem("llava-plus.theme"));
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the system's colours are used.
}
