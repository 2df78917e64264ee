// Package docs checks what the documents say against the code: names, limits, imports, modules,
// links, and the program in README.md. A document that the code contradicts is a failed test here.
package docs
