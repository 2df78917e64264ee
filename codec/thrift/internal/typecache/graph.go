package typecache

import (
	"fmt"
	"reflect"
)

// Graph has the types that are examined together, which may contain each other.
type Graph[T any] struct {
	Order []*Node[T] // in the order of discovery; it grows while it is examined

	nodes map[reflect.Type]*Node[T]
}

// Node is a type that is being examined.
type Node[T any] struct {
	Type  reflect.Type
	Value *T
	Err   error // why there is no value

	users  []*Node[T] // the types that hold a value of this one
	spread bool       // Err was passed on to the users
}

// Node returns the node of t. If it is new, it gets the value that newValue returns. user, unless
// it is nil, holds a value of t.
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

// Spread passes the errors that were set since the last Spread on to all types that hold values of
// the failed types.
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

// Publish publishes the results of all nodes in c.
func (g *Graph[T]) Publish(c *Cache[T]) {
	for _, n := range g.Order {
		c.Publish(n.Type, n.Value, n.Err)
	}
}
