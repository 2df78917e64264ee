// Package shape knows from the tags of a generated struct what it expects on the wire, and
// checks a message against that before the struct's own code reads it.
//
// Generated code believes what it declares, not what the message says: the elements of a
// container are read as the declared type whatever type the message gives them, and memory is
// reserved for as many as it counts. A walk that knows the message's types alone can therefore be
// passed by bytes that mean something else to the code behind it. This one follows the
// declaration, so that the generated code reads what was checked.
package shape
