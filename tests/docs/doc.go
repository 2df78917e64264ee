// Package docs checks the documents against the code: names, limits, imports, modules, links, and
// the program in README.md. If the code contradicts a document, a test here fails.
package docs
