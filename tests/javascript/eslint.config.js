// The rules for the page's scripts: classic scripts that share one global, `wer`.
const js = require("eslint/config");

const browser = [
  "window", "document", "location", "history", "navigator", "localStorage", "matchMedia", "getComputedStyle", "console",
  "performance", "devicePixelRatio", "addEventListener", "setTimeout", "clearTimeout", "setInterval", "clearInterval",
  "requestAnimationFrame", "Node", "HTMLElement", "Event", "Blob", "URL", "URLSearchParams", "ResizeObserver", "Path2D", "innerWidth", "sessionStorage",
];
const readonly = Object.fromEntries([...browser, "wer", "uPlot"].map((name) => [name, "readonly"]));

module.exports = js.defineConfig([
  {
    files: ["**/*.js"],
    languageOptions: { sourceType: "script", ecmaVersion: 2023, globals: readonly },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      "consistent-return": "off",
      "default-case-last": "error",
      eqeqeq: "error",
      "max-lines-per-function": ["error", { max: 40, skipComments: true, skipBlankLines: true }],
      "no-const-assign": "error",
      "no-dupe-keys": "error",
      "no-empty": ["error", { allowEmptyCatch: false }],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-redeclare": "error",
      "no-self-compare": "error",
      "no-shadow": ["error", { allow: ["el"] }],
      "no-undef": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", caughtErrors: "all" }],
      "no-use-before-define": ["error", { functions: false, variables: false }],
      "no-var": "error",
      "prefer-const": "error",
      strict: ["error", "function"],
    },
  },
]);
