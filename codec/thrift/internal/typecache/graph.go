package typecache

import (
	"fmt"
	"reflect"
)

// Graph has the types that are found out about together, which may contain each other.
type Graph[T any] struct {
	Order []*Node[T] // as they were found; it grows while the first ones are looked at

	nodes map[reflect.Type]*Node[T]
}

// Node is a type that is being looked at.
type Node[T any] struct {
	Type  reflect.Type
	Value *T
	Err   error // why there is no value

	users  []*Node[T] // the types with a value of this one
	spread bool       // the users have Err
}

// Node returns the node of t, with the value that newValue returns if it is a new one. A value of t
// is in user, which is nil for none.
func (g *Graph[T]) Node(t reflect.Type, user *Node[T], newValue func() *T) *Node[T] {
	n := g.nodes[t]
	if n == nil {
		n = &Node[T]{Type: t, Value: newValue()}
		if g.nodes == nil {
			g.nodes = make(map[reflect.Type]*Node[T])
		}
		g.nodes[t] = n
		g.Order = append(g.Order, n)
	}
	if user != nil {
		n.users = append(n.users, user)
	}
	return n
}

// Spread gives the errors that were set since the last Spread to all types that have values of
// those with one.
func (g *Graph[T]) Spread() {
	var failed []*Node[T]
	for _, n := range g.Order {
		if n.Err != nil && !n.spread {
			n.Err, n.spread = fmt.Errorf("%v: %w", n.Type, n.Err), true
			failed = append(failed, n)
		}
	}
	for ; len(failed) > 0; failed = failed[1:] {
		for _, user := range failed[0].users {
			if user.Err == nil {
				user.Err, user.spread = fmt.Errorf("%v has a %w", user.Type, failed[0].Err), true
				failed = append(failed, user)
			}
		}
	}
}

// Publish has c know what was found out.
func (g *Graph[T]) Publish(c *Cache[T]) {
	for _, n := range g.Order {
		c.Publish(n.Type, n.Value, n.Err)
	}
}
