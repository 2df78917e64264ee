// Package twohosts tests what a client and a server on two hosts see of the network between them: a
// cut cable, packets that are lost or late, a host that loses its power, an address that changes.
//
// The hosts are network namespaces of Linux, joined by veth; see ip-netns(8). Making them takes
// root and iproute2. Without these the tests are skipped and say why.
package twohosts
