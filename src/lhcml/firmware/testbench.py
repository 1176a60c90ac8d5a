"""The C++ testbench that Verilator compiles with a design: words from a file in, words to a file out, one a clock."""

from __future__ import annotations

from lhcml.firmware.buses import Bus

TEMPLATE = """\
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "verilated.h"
#include "V@TOP@.h"

// Verilator holds a port of up to 64 bits in an integer and a wider one in an array of 32-bit words
template <class Port> void put(Port& port, const uint32_t* words) {
    uint64_t value = words[0];
    if (sizeof(Port) == 8) value |= uint64_t(words[1]) << 32;
    port = Port(value);
}
template <std::size_t N> void put(VlWide<N>& port, const uint32_t* words) {
    for (std::size_t i = 0; i < N; ++i) port[i] = words[i];
}
template <class Port> void get(const Port& port, uint32_t* words) {
    words[0] = uint32_t(port);
    if (sizeof(Port) == 8) words[1] = uint32_t(uint64_t(port) >> 32);
}
template <std::size_t N> void get(const VlWide<N>& port, uint32_t* words) {
    for (std::size_t i = 0; i < N; ++i) words[i] = port[i];
}

int main(int argc, char** argv) {
    const std::size_t events = std::strtoull(argv[1], nullptr, 10), after = std::strtoull(argv[2], nullptr, 10);
    std::vector<uint32_t> inputs(@INPUT_WORDS@ * events), idle(@INPUT_WORDS@, 0), outputs(@OUTPUT_WORDS@, 0);
    std::FILE* file = std::fopen("inputs.bin", "rb");
    if (!file || std::fread(inputs.data(), 4, inputs.size(), file) != inputs.size()) return 2;
    std::fclose(file);
    file = std::fopen("outputs.bin", "wb");
    if (!file) return 3;
    auto context = std::make_unique<VerilatedContext>();
    auto design = std::make_unique<V@TOP@>(context.get());
    for (std::size_t edge = 0; edge < events + after; ++edge) {
        design->clk = 0;
        put(design->@INPUT@, edge < events ? &inputs[@INPUT_WORDS@ * edge] : idle.data());
        design->eval();
        design->clk = 1;
        design->eval();
        get(design->@OUTPUT@, outputs.data());
        if (std::fwrite(outputs.data(), 4, outputs.size(), file) != outputs.size()) return 4;
    }
    design->final();
    return std::fclose(file) ? 5 : 0;
}
"""


def testbench(top: str, inputs: Bus, outputs: Bus) -> str:
    """Return the C++ source of the testbench of a module.

    The program reads `inputs.bin`, puts one event on the input before each rising edge of `clk`, and writes what stands
    on the output after it to `outputs.bin`. Its arguments: the number of events, and of edges after the last one.
    """
    values = {
        "TOP": top, "INPUT": inputs.port, "OUTPUT": outputs.port,
        "INPUT_WORDS": str(inputs.words()), "OUTPUT_WORDS": str(outputs.words()),
    }  # fmt: skip
    text = TEMPLATE
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
