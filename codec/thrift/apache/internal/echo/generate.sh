#!/usr/bin/env bash
#
# Writes the Go code beside this file anew, with the Thrift compiler whose source is part of the
# library's module: bash generate.sh
#
# With -check it writes nothing, and fails if the code is not what the compiler makes of the IDL. It needs
# g++, bison and flex, and a minute.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

library=$(cd "$here/../.." && go list -m -f '{{.Dir}}' github.com/apache/thrift)
cp -R "$library/compiler/cpp/src" "$scratch/src"
chmod -R u+w "$scratch/src"
cd "$scratch"
mkdir -p out/thrift
bison -d -o out/thrift/thrifty.cc src/thrift/thrifty.yy
flex -o out/thrift/thriftl.cc src/thrift/thriftl.ll

# Of the generators only Go's. main.cc and logging.cc define the same two functions, hence muldefs.
generators=(t_generator.cc t_go_generator.cc go_validator_generator.cc validator_parser.cc)
g++ -std=c++17 -O0 -Wl,-z,muldefs -Isrc -Iout -o compiler \
	src/thrift/main.cc src/thrift/common.cc src/thrift/logging.cc src/thrift/audit/t_audit.cpp \
	src/thrift/parse/*.cc "${generators[@]/#/src/thrift/generate/}" out/thrift/*.cc

./compiler --gen go:skip_remote -out "$scratch" "$here/../../../../../idl/echo.thrift"
gofmt -w "$scratch/echo"
if [[ ${1-} == -check ]]; then
	diff -ru --exclude=doc.go --exclude=generate.sh "$here" "$scratch/echo"
	exit
fi
cp "$scratch"/echo/*.go "$here/"
