// Elements of the page. Text of the server is only ever set as text, never as markup.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list" && name !== "role") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

let last = 0;

export function uniqueId(name) {
  last += 1;
  return `${name}-${last}`;
}

// Shows an error at the control that caused it, or removes it if the text is empty.
export function showProblem(place, text, control = null) {
  place.querySelector(":scope > .problem")?.remove();
  control?.removeAttribute("aria-invalid");
  control?.removeAttribute("aria-describedby");
  if (!text) return;
  const problem = element("p", { className: "problem", role: "alert", id: uniqueId("problem") }, text);
  place.append(problem);
  if (!control) return;
  control.setAttribute("aria-invalid", "true");
  control.setAttribute("aria-describedby", problem.id);
}

// Offers data as a file.
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// Copies a text, and says so on the button for a moment.
export async function copy(text, button) {
  const usual = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    window.prompt("Copy this text:", text);
  }
  setTimeout(() => { button.textContent = usual; }, 1500);
}
