// Improves pages that work without it: a form is sent once, what was typed survives a change of
// the language, and times are told by the clock of the device.
for (const form of document.forms) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    event.submitter?.setAttribute("aria-busy", "true");
  });
}

// A page that comes back out of the browser's memory can be sent again.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.forms) delete form.dataset.sent;
  for (const busy of document.querySelectorAll("[aria-busy]")) busy.removeAttribute("aria-busy");
});

// Only the identifier is kept, and only until the next page: a code is a secret.
const KEPT = "publica.login.typed";
const field = document.getElementById("individual-id");
if (field) {
  const kept = window.sessionStorage.getItem(KEPT);
  if (kept && !field.value) field.value = kept;
  for (const link of document.querySelectorAll(".languages a")) {
    link.addEventListener("click", () => window.sessionStorage.setItem(KEPT, field.value));
  }
}
window.sessionStorage.removeItem(KEPT);

for (const time of document.querySelectorAll("time[datetime]")) {
  const clock = { hour: "2-digit", minute: "2-digit" };
  time.textContent = new Date(time.dateTime)
    .toLocaleTimeString(document.documentElement.lang, clock);
}
