// Comfort only: every page works without it. Forms whose button needs several ticks show how many
// there are, and the button waits for them.
for (const button of document.querySelectorAll("[data-needs-ticks]")) {
  const needed = Number(button.dataset.needsTicks);
  const label = button.textContent;
  const update = () => {
    const ticked = button.form.querySelectorAll("input[type=checkbox]:checked").length;
    button.disabled = ticked < needed;
    button.textContent = ticked < needed ? label : `Compare ${ticked} experiments`;
  };
  button.form.addEventListener("change", update);
  window.addEventListener("pageshow", update);
  update();
}
