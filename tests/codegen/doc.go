// Package codegen tests that the code that Kitex generates with idl/kiteline-template.json builds
// and runs over Kiteline. It has no code of its own.
package codegen
