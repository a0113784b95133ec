// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

/// ACPI Machine Language, as far as a fixed machine's DSDT needs it (ACPI 6.5, chapter 20 "ACPI Machine
/// Language (AML) Specification"). Every function returns one encoded term; terms nest by being passed to one
/// another:
///
///     device("COM1", {name("_HID", eisa_id("PNP0501")), name("_UID", integer(1)),
///                     name("_CRS", resource_template({io_port(0x3F8, 8), isa_irq(4)}))})
///
/// Arguments come from our own tables, never from a guest or an operator, so a malformed name or a value out
/// of range is a bug of ours (CHECK).
namespace tapir::vmm::acpi::aml {

using Bytes = std::vector<std::uint8_t>;
using Terms = std::vector<Bytes>;

// Data (20.2.3 "Data Objects Encoding").

/// The shortest of ZeroOp, OneOp and the four sized prefixes.
Bytes integer(std::uint64_t value);
Bytes string(std::string_view text);
/// "PNP0A08": three capital letters and four hexadecimal digits, compressed to an integer (19.3.4 "ASL
/// Macros").
Bytes eisa_id(std::string_view id);
Bytes buffer(std::span<const std::uint8_t> content);
/// "33db4d5b-1ff7-401c-9657-7441c03dd766" as the 16-byte buffer that ToUUID gives (mixed-endian).
Bytes uuid(std::string_view text);
/// At most 255 elements.
Bytes package(const Terms& elements);

// Named objects and name space (20.2.5). A path is "ABCD", "\\_SB_" or "\\_SB_.PCI0": four-character segments
// of capitals, digits and '_' (a shorter segment is padded with '_'), at most 255 of them.

Bytes path(std::string_view text);
Bytes name(std::string_view object, const Bytes& value);
Bytes scope(std::string_view object, const Terms& content);
Bytes device(std::string_view object, const Terms& content);
/// `arguments` 0 to 7. A method that makes named objects must be serialized.
Bytes method(std::string_view object, unsigned arguments, bool serialized, const Terms& content);

// Method bodies.

Bytes arg(unsigned index);    ///< Arg0 to Arg6
Bytes local(unsigned index);  ///< Local0 to Local7
Bytes equal(const Bytes& left, const Bytes& right);
Bytes logical_not(const Bytes& operand);
/// target = left | right
Bytes bit_or(const Bytes& left, const Bytes& right, const Bytes& target);
Bytes when(const Bytes& condition, const Terms& content);
/// Must follow a when().
Bytes otherwise(const Terms& content);
Bytes give_back(const Bytes& value);  ///< Return
/// Names the 32-bit field at `byte_offset` of a buffer.
Bytes create_dword_field(const Bytes& source, unsigned byte_offset, std::string_view field);

// Resource descriptors (6.4 "Resource Data Types for ACPI"), to be gathered by resource_template().

enum class Trigger : std::uint8_t { kLevel, kEdge };
enum class Polarity : std::uint8_t { kActiveHigh, kActiveLow };
enum class Sharing : std::uint8_t { kExclusive, kShared };

Bytes resource_template(const Terms& descriptors);
/// I/O Port Descriptor at a fixed address, 16-bit decode, 1 to 255 ports.
Bytes io_port(std::uint16_t base, std::uint8_t count);
/// IRQ Descriptor without flags: edge, active high, exclusive. `irq` 0 to 15.
Bytes isa_irq(unsigned irq);
/// Extended Interrupt Descriptor, consumer, one interrupt.
Bytes interrupt(std::uint32_t gsi, Trigger trigger, Polarity polarity, Sharing sharing);
/// 32-bit Fixed Memory Range Descriptor, read-write.
Bytes memory32_fixed(std::uint32_t base, std::uint32_t bytes);
/// Address space descriptors of a bridge (producer), fixed at both ends; `first` to `last`, both inclusive.
Bytes word_bus_numbers(std::uint16_t first, std::uint16_t last);
Bytes word_io(std::uint16_t first, std::uint16_t last);
/// Non-cacheable, read-write memory.
Bytes dword_memory(std::uint32_t first, std::uint32_t last);
Bytes qword_memory(std::uint64_t first, std::uint64_t last);

}  // namespace tapir::vmm::acpi::aml
