// Package shape checks a message against the tags of a generated struct before the struct's own
// code reads the message.
//
// Generated code follows its declaration, not what the message says: it reads the elements of a
// container as the declared type whatever type the message gives them, and reserves memory for as
// many as the message counts. So a walk that knows only the message's types can accept bytes that
// mean something else to the generated code. This walk follows the declaration, so that the
// generated code reads what was checked.
package shape
