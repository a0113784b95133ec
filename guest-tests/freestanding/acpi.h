// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace guest {

/// What freestanding guests need of ACPI (ACPI 6.5, 5.2). Zero where a table or a field was not found.
struct AcpiTables {
  bool rsdp_valid = false;         ///< signature and both checksums
  bool xsdt_valid = false;         ///< this and each table that it lists: checksums
  unsigned tables = 0;             ///< listed in the XSDT
  std::uint64_t ecam_base = 0;     ///< MCFG
  std::uint16_t pm1a_control = 0;  ///< FADT
  std::uint16_t reset_port = 0;    ///< FADT, when the reset register is in I/O space
  std::uint8_t reset_value = 0;
  std::uint8_t sleep_type_s5 = 0;  ///< \_S5 in the DSDT
  bool has_s5 = false;
};

AcpiTables find_acpi_tables();

}  // namespace guest
