// Package twohosts tests what a client and a server on two hosts see of the network between them: a
// cable that is cut, packets that are lost or late, a host that loses its power, an address that
// changes.
//
// The hosts are network namespaces of Linux, joined by veth; see ip-netns(8). Where they cannot be
// made, which takes root and iproute2, the tests are skipped and say why.
package twohosts
