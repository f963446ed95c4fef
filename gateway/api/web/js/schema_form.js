/** A form from a JSON schema of a tool's arguments, and the values that are filled in. */

import { h } from "./dom.js";

const LONG = 200;

/** @returns { element, read, write }: `read()` gives the arguments, without those left empty, or throws `FieldError`. */
export function schemaForm(schema) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(([name, property]) =>
    field(name, plainOf(property, schema), required.has(name)),
  );
  const element = h("div", { class: "fields" }, fields.map((one) => one.element));
  const read = () => {
    const values = fields.map((one) => [one.name, one.read()]).filter(([, value]) => value !== undefined);
    return Object.fromEntries(values);
  };
  const write = (name, value) => fields.find((one) => one.name === name)?.write(value);
  return { element, read, write };
}

export class FieldError extends Error {
  constructor(message, control) {
    super(message);
    this.control = control;
  }
}

/** The schema of what is not null, with references followed and the property's own words kept. */
function plainOf(property, root) {
  const followed = property.$ref ? { ...at(root, property.$ref), ...property } : property;
  const choice = (followed.anyOf ?? followed.oneOf)?.find((one) => one.type !== "null");
  return choice ? { ...plainOf(choice, root), ...followed, anyOf: undefined, type: plainOf(choice, root).type } : followed;
}

function at(root, pointer) {
  return pointer.split("/").slice(1).reduce((node, key) => node?.[key], root) ?? {};
}

function field(name, schema, required) {
  const id = `field-${name}`;
  const { control, read, write } = controlOf(schema, id, required);
  const help = [schema.description, rangeOf(schema)].filter(Boolean).join(" ");
  if (help) control.setAttribute("aria-describedby", `${id}-help`);
  const label = h("label", { for: id }, h("code", {}, name), required ? h("small", {}, " needed") : null);
  const element = h("div", { class: "field" }, label, control, help && h("small", { id: `${id}-help` }, help));
  return { name, element, read, write };
}

function controlOf(schema, id, required) {
  const values = schema.enum ?? (schema.const === undefined ? null : [schema.const]);
  if (schema.type === "boolean") return choice(id, [true, false], required, schema.default);
  if (values) return choice(id, values, required, schema.default);
  if (schema.type === "integer" || schema.type === "number") return number(id, schema, required);
  if (schema.type === "string") return words(id, schema, required);
  if (schema.type === "array" && isText(schema.items)) return list(id, schema, required);
  return json(id, schema, required);
}

function choice(id, values, required, fallback) {
  const empty = required ? [] : [h("option", { value: "" }, fallback === undefined || fallback === null ? "default" : `default (${fallback})`)];
  const control = h("select", { id }, empty, values.map((value, index) => h("option", { value: String(index) }, String(value))));
  const read = () => (control.value === "" ? undefined : values[Number(control.value)]);
  return { control, read, write: (value) => (control.value = String(values.indexOf(value))) };
}

function number(id, schema, required) {
  const step = schema.type === "integer" ? 1 : "any";
  const control = h("input", { id, type: "number", step, required, min: schema.minimum, max: schema.maximum, placeholder: hint(schema) });
  const read = () => {
    if (!control.checkValidity()) throw new FieldError(control.validationMessage, control);
    return control.value === "" ? undefined : Number(control.value);
  };
  return { control, read, write: (value) => (control.value = value) };
}

function words(id, schema, required) {
  const long = (schema.maxLength ?? 0) > LONG;
  const given = { id, required, minlength: schema.minLength, maxlength: schema.maxLength, placeholder: hint(schema) };
  const control = long ? h("textarea", { ...given, rows: 2 }) : h("input", { ...given, type: "text" });
  const read = () => {
    if (!control.checkValidity()) throw new FieldError(control.validationMessage, control);
    return control.value === "" ? undefined : control.value;
  };
  return { control, read, write: (value) => (control.value = value) };
}

function list(id, schema, required) {
  const control = h("input", { id, type: "text", required, placeholder: hint(schema) || "separated by commas" });
  const read = () => {
    const items = control.value.split(",").map((item) => item.trim()).filter(Boolean);
    if (required && !items.length) throw new FieldError("Fill in at least one.", control);
    return items.length ? items : undefined;
  };
  return { control, read, write: (value) => (control.value = value.join(", ")) };
}

function json(id, schema, required) {
  const control = h("textarea", { id, rows: 2, required, class: "code", spellcheck: "false", placeholder: hint(schema) || "JSON" });
  const read = () => {
    if (!control.value.trim()) {
      if (required) throw new FieldError("Fill this in.", control);
      return undefined;
    }
    try {
      return JSON.parse(control.value);
    } catch {
      throw new FieldError("This is not valid JSON.", control);
    }
  };
  return { control, read, write: (value) => (control.value = JSON.stringify(value)) };
}

function isText(items) {
  return items?.type === "string" || items?.const !== undefined;
}

function hint({ default: fallback }) {
  if (fallback === undefined || fallback === null || fallback === "") return null;
  return `default: ${Array.isArray(fallback) ? fallback.join(", ") : fallback}`;
}

function rangeOf({ minimum, maximum }) {
  if (minimum === undefined && maximum === undefined) return "";
  if (minimum === undefined) return `At most ${maximum}.`;
  return maximum === undefined ? `At least ${minimum}.` : `${minimum} to ${maximum}.`;
}
