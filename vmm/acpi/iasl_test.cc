// SPDX-License-Identifier: Apache-2.0
// What the reference implementation (ACPICA: iasl, acpiexec) says of our tables.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <string>

#include "net/testing/temporary_directory.h"
#include "vmm/acpi/dsdt.h"
#include "vmm/acpi/fixed_tables.h"
#include "vmm/acpi/tables.h"
#include "vmm/platform.h"

namespace tapir::vmm::acpi {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// Runs a command in a shell; its output, and a last line with its status.
std::string run(const std::string& command) {
  std::string output;
  std::FILE* pipe = ::popen(("{ " + command + "; } 2>&1; echo \"status $?\"").c_str(), "re");
  if (pipe == nullptr) {
    return "popen failed";
  }
  std::array<char, 4096> piece{};
  for (std::size_t bytes = 0; (bytes = std::fread(piece.data(), 1, piece.size(), pipe)) > 0;) {
    output.append(piece.data(), bytes);
  }
  ::pclose(pipe);
  return output;
}

class Iasl : public ::testing::Test {
 protected:
  void SetUp() override {
    if (run("command -v iasl acpiexec >/dev/null").find("status 0") == std::string::npos) {
      const char* must_run = std::getenv("TAPIR_TESTS_MUST_RUN");  // NOLINT(concurrency-mt-unsafe)
      ASSERT_FALSE(must_run != nullptr && std::string(must_run) == "1") << "install acpica-tools";
      GTEST_SKIP() << "iasl and acpiexec (package acpica-tools) are not installed";
    }
  }

  std::string file(const std::string& name, const std::vector<std::uint8_t>& content) const {
    std::string path = directory_.file(name);
    std::ofstream stream(path, std::ios::binary);
    for (const std::uint8_t byte : content) {
      stream.put(static_cast<char>(byte));
    }
    return path;
  }
  std::string in_directory(const std::string& command) const {
    return run("cd '" + directory_.path() + "' && " + command);
  }

  static MachineDescription machine() {
    MachineDescription result;
    result.cpus = platform::kMaxCpus;
    for (unsigned i = 0; i < 3; ++i) {
      result.virtio_mmio.push_back(
          {platform::kVirtioMmioBase + i * platform::kVirtioMmioBytes, platform::kVirtioMmioGsis[i]});
    }
    return result;
  }

 private:
  net::testing::TemporaryDirectory directory_;
};

TEST_F(Iasl, DisassemblesAndRecompilesTheDsdtWithoutComplaint) {
  file("dsdt.aml", make_dsdt(machine()));
  const std::string disassembly = in_directory("iasl -d dsdt.aml");
  EXPECT_THAT(disassembly, HasSubstr("status 0"));
  EXPECT_THAT(disassembly, Not(HasSubstr("Warning")));
  EXPECT_THAT(disassembly, Not(HasSubstr("AE_")));
  const std::string compilation = in_directory("mv dsdt.aml before.aml && iasl -oa dsdt.dsl");
  EXPECT_THAT(compilation, HasSubstr("Compilation successful. 0 Errors, 0 Warnings, 0 Remarks"))
      << compilation;
  EXPECT_THAT(in_directory("tail -c +37 before.aml >a; tail -c +37 dsdt.aml >b; cmp a b"),
              HasSubstr("status 0"))
      << "the same byte code, apart from the header that names its compiler";
}

TEST_F(Iasl, DisassemblesTheFixedTablesWithoutComplaint) {
  file("facp.aml", make_fadt(0xE'0040, 0xE'0080));
  file("apic.aml", make_madt(platform::kMaxCpus));
  file("mcfg.aml", make_mcfg());
  for (const char* table : {"facp", "apic", "mcfg"}) {
    const std::string output =
        in_directory(std::string("iasl -d ") + table + ".aml && cat " + table + ".dsl");
    EXPECT_THAT(output, HasSubstr("status 0"));
    for (const char* complaint : {"Warning", "Error", "nvalid", "Unknown", "ncorrect"}) {
      EXPECT_THAT(output, Not(HasSubstr(complaint)));
    }
  }
}

TEST_F(Iasl, EvaluatesWhatAnOperatingSystemEvaluates) {
  file("dsdt.aml", make_dsdt(machine()));
  std::string batch;
  for (const char* object :
       {"PCI0._CRS", "PCI0._PRT", "MBRD._CRS", "COM1._CRS", "RTC._CRS", "PEVT._CRS", "V000._CRS"}) {
    batch += std::string("evaluate \\_SB.") + object + ";";
  }
  batch += "resources \\_SB.PCI0;resources \\_SB.V002;evaluate \\_S5";
  const std::string output = in_directory("acpiexec -b '" + batch + "' dsdt.aml");
  for (const char* complaint : {"ACPI Error", "ACPI Exception", "ACPI Warning", "ACPI BIOS"}) {
    EXPECT_THAT(output, Not(HasSubstr(complaint)));
  }
  EXPECT_THAT(output, HasSubstr("Evaluation of \\_SB.PCI0._PRT returned object"));
  EXPECT_THAT(output, HasSubstr("Address : E1002000"));
  EXPECT_THAT(output, HasSubstr("Triggering : Edge"));
  EXPECT_THAT(output, HasSubstr("Evaluation of \\_S5 returned object"));
}

TEST_F(Iasl, OscGrantsControlAndRefusesWhatItDoesNotKnow) {
  file("dsdt.aml", make_dsdt(machine()));
  const auto osc = [this](const std::string& uuid, int revision) {
    return in_directory("acpiexec -b 'evaluate \\_SB.PCI0._OSC (" + uuid + ") " + std::to_string(revision) +
                        " 3 (00 00 00 00 1F 00 00 00 1D 00 00 00)' dsdt.aml");
  };
  const std::string pci = "5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66";
  EXPECT_THAT(osc(pci, 1), HasSubstr("0000: 00 00 00 00 1F 00 00 00 1D 00 00 00"));
  EXPECT_THAT(osc(pci, 2), HasSubstr("0000: 08 00 00 00 1F 00 00 00 1D 00 00 00"));
  EXPECT_THAT(osc("00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", 1),
              HasSubstr("0000: 04 00 00 00 1F 00 00 00 1D 00 00 00"));
}

}  // namespace
}  // namespace tapir::vmm::acpi
