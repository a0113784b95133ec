// SPDX-License-Identifier: Apache-2.0
#include "vmm/options.h"

#include <gmock/gmock.h>

#include <sstream>
#include <string>
#include <vector>

#include "vmm/option_help.h"

namespace tapir::vmm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::uint64_t kMiB = 1U << 20U;

/// A command line split at its blanks.
tl::expected<Options, std::vector<std::string>> parse(const std::string& line) {
  std::vector<std::string> words = {"tapir"};
  std::istringstream stream(line);
  for (std::string word; stream >> word;) {
    words.push_back(word);
  }
  std::vector<const char*> argv;
  argv.reserve(words.size());
  for (const std::string& word : words) {
    argv.push_back(word.c_str());
  }
  return parse_options(static_cast<int>(argv.size()), argv.data());
}

RunOptions run_options(const std::string& line) {
  auto options = parse(line);
  EXPECT_TRUE(options) << options.error().front();
  if (!options || !std::holds_alternative<RunOptions>(*options)) {
    ADD_FAILURE() << line << " does not run a guest";
    return {};
  }
  return std::get<RunOptions>(*std::move(options));
}

MachineConfig machine(const std::string& line) {
  return run_options(line).machine;
}

std::vector<std::string> problems(const std::string& line) {
  const auto options = parse(line);
  return options ? std::vector<std::string>{"accepted"} : options.error();
}

/// The first problem.
std::string refusal(const std::string& line) {
  return problems(line).front();
}

std::string printed(const std::string& line) {
  const auto options = parse(line);
  const auto* const request = options ? std::get_if<PrintRequest>(&*options) : nullptr;
  return request != nullptr ? request->text : "nothing";
}

TEST(OptionsTest, KernelAloneGivesTheDefaults) {
  const MachineConfig config = machine("-kernel vmlinuz");
  EXPECT_EQ(config.kernel_path, "vmlinuz");
  EXPECT_TRUE(config.initrds.empty());
  EXPECT_EQ(config.command_line, "");
  EXPECT_EQ(config.memory_bytes, 128 * kMiB);
  EXPECT_EQ(config.cpus, 1U);
  EXPECT_EQ(config.serial.kind, SerialConfig::Kind::kStdio);
  EXPECT_TRUE(config.reboot);
  EXPECT_THAT(config.nics, IsEmpty());
}

TEST(OptionsTest, ReadsAWholeLine) {
  const MachineConfig config = machine(
      "-kernel vmlinuz -initrd initrd -append console=ttyS0 -m 256 -smp 2 -name web1 -nographic -no-reboot "
      "-netdev tap,id=n0,ifname=t0,script=no,downscript=no -device "
      "virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56");
  EXPECT_THAT(config.initrds, ElementsAre("initrd"));
  EXPECT_EQ(config.command_line, "console=ttyS0");
  EXPECT_EQ(config.memory_bytes, 256 * kMiB);
  EXPECT_EQ(config.cpus, 2U);
  EXPECT_EQ(config.name, "web1");
  EXPECT_FALSE(config.reboot);
  ASSERT_EQ(config.nics.size(), 1U);
  EXPECT_EQ(config.nics[0].model, NicModel::kVirtioNetPci);
  EXPECT_EQ(config.nics[0].mac->to_string(), "52:54:00:12:34:56");
  EXPECT_EQ(config.nics[0].backend->ifname, "t0");
}

TEST(OptionsTest, OneDashOrTwoMakeNoDifference) {
  EXPECT_EQ(machine("--kernel vmlinuz --m 64").memory_bytes, 64 * kMiB);
  EXPECT_EQ(refusal("---kernel vmlinuz"), "---kernel: tapir has no such option; did you mean -kernel?");
}

TEST(OptionsTest, LastOfAScalarOptionCounts) {
  EXPECT_EQ(machine("-kernel a -kernel b -m 64 -m 32").kernel_path, "b");
  EXPECT_EQ(machine("-kernel a -kernel b -m 64 -m 32").memory_bytes, 32 * kMiB);
}

TEST(OptionsTest, ArgumentMayBeginWithADash) {
  EXPECT_EQ(machine("-kernel -x").kernel_path, "-x");
}

TEST(OptionsTest, HelpAndVersionNeedNoKernel) {
  for (const char* const line : {"-help", "--help", "-h", "--h", "-m 64 -help"}) {
    EXPECT_EQ(printed(line), help_text()) << line;
  }
  for (const char* const line : {"-version", "--version"}) {
    EXPECT_EQ(printed(line), version_text()) << line;
  }
}

TEST(OptionsTest, ErrorBeforeHelpIsTold) {
  EXPECT_EQ(refusal("-m 0 -help"), "-m 0: memory size must be at least 2M; for example -m 256");
}

TEST(OptionsTest, EmptyCommandLineTeaches) {
  EXPECT_EQ(
      refusal(""),
      "-kernel is missing; for example tapir -kernel vmlinuz -initrd initrd.img -append console=ttyS0 -m 256 "
      "(-help shows more)");
  EXPECT_FALSE(parse_options(0, nullptr));
}

TEST(OptionsTest, InitrdsAreSeparatedByCommas) {
  EXPECT_THAT(machine("-kernel k -initrd a,,b,c").initrds, ElementsAre("a,b", "c"));
  EXPECT_THAT(machine("-kernel k -initrd a,b -initrd d").initrds, ElementsAre("d"));
}

TEST(OptionsTest, MemorySizesAsQemuReadsThem) {
  EXPECT_EQ(machine("-kernel k -m 256").memory_bytes, 256 * kMiB);
  EXPECT_EQ(machine("-kernel k -m 256M").memory_bytes, 256 * kMiB);
  EXPECT_EQ(machine("-kernel k -m size=1g").memory_bytes, 1024 * kMiB);
  EXPECT_EQ(machine("-kernel k -m 1.5G").memory_bytes, 1536 * kMiB);
  EXPECT_EQ(machine("-kernel k -m 5000K").memory_bytes, 5000U * 1024);
  EXPECT_EQ(machine("-kernel k -m 4194305b").memory_bytes, 4 * kMiB + 4096);  // up to whole pages
}

TEST(OptionsTest, CpuFeaturesAreCollected) {
  const MachineConfig config = machine("-kernel k -cpu host,+avx2,-avx512f,x2apic=off,-avx512f");
  EXPECT_THAT(config.cpu.enable, ElementsAre("avx2"));
  EXPECT_THAT(config.cpu.disable, ElementsAre("avx512f", "x2apic"));
  EXPECT_THAT(machine("-kernel k -cpu host").cpu.enable, IsEmpty());
}

TEST(OptionsTest, SerialGoesWhereItIsTold) {
  using Kind = SerialConfig::Kind;
  EXPECT_EQ(machine("-kernel k -serial stdio").serial.kind, Kind::kStdio);
  EXPECT_EQ(machine("-kernel k -serial mon:stdio").serial.kind, Kind::kStdio);
  EXPECT_EQ(machine("-kernel k -serial none").serial.kind, Kind::kNone);
  EXPECT_EQ(machine("-kernel k -serial null").serial.kind, Kind::kNull);
  EXPECT_EQ(machine("-kernel k -serial file:a,b=c").serial.kind, Kind::kFile);
  EXPECT_EQ(machine("-kernel k -serial file:a,b=c").serial.path, "a,b=c");
}

TEST(OptionsTest, QemuOptionsWithoutEffectAreAccepted) {
  const MachineConfig config = machine(
      "-nodefaults -no-user-config -enable-kvm -accel kvm -machine q35,accel=kvm -M pc -M microvm -display "
      "none "
      "-vga none -monitor none -parallel none -nographic -net none -nic none -kernel k");
  EXPECT_THAT(config.nics, IsEmpty());
}

TEST(OptionsTest, BackendWithoutNicIsAWarning) {
  const RunOptions run = run_options("-kernel k -netdev tap,id=n0,ifname=t0,script=no,downscript=no");
  EXPECT_THAT(run.machine.nics, IsEmpty());
  EXPECT_THAT(
      run.warnings,
      ElementsAre("-netdev tap,id=n0,ifname=t0,script=no,downscript=no has no NIC and is not opened; add "
                  "-device virtio-net-pci,netdev=n0"));
}

TEST(OptionsTest, EveryProblemOfALineIsTold) {
  EXPECT_THAT(
      problems(
          "-m 0 -kernl vmlinuz -smp 65 -netdev tap,id=a,fd=x -device virtio-net-pci,netdev=b -serial tty"),
      ElementsAre(HasSubstr("-m 0: "), HasSubstr("-kernl: "), HasSubstr("-smp 65: "),
                  HasSubstr("-netdev tap,id=a,fd=x: "), HasSubstr("-serial tty: "),
                  HasSubstr("-device virtio-net-pci,netdev=b: ")));
}

TEST(OptionsTest, MissingKernelIsToldBesideOtherProblems) {
  EXPECT_THAT(problems("-m 0"), ElementsAre(HasSubstr("-m 0: "), HasSubstr("-kernel is missing")));
  EXPECT_THAT(problems("vmlinuz"), ElementsAre(HasSubstr("'vmlinuz' does not belong to an option")));
}

TEST(OptionsTest, ListsAreAskedForByHelpOrAQuestionMark) {
  EXPECT_THAT(printed("-netdev help"), AllOf(HasSubstr("\nbridge: "), HasSubstr("\ntap: "),
                                             HasSubstr("\nhubport: "), HasSubstr("\n  sndbuf=SIZE")));
  EXPECT_EQ(printed("-netdev ?"), printed("-netdev help"));
  EXPECT_EQ(printed("-netdev type=help"), printed("-netdev help"));
  EXPECT_THAT(printed("-netdev tap,help"), AllOf(HasSubstr("  ifname=NAME"), Not(HasSubstr("hubid="))));
  EXPECT_THAT(printed("-nic tap,help"), AllOf(HasSubstr("  ifname=NAME"), HasSubstr("  mac=MAC")));
  EXPECT_THAT(printed("-device help"),
              AllOf(HasSubstr("\nvirtio-net-pci "), HasSubstr("\nvirtio-net-device ")));
  EXPECT_THAT(printed("-device virtio-net-pci,help"),
              AllOf(HasSubstr("  csum=on|off"), HasSubstr("  addr=SLOT")));
  EXPECT_THAT(printed("-device virtio-net-device,help"),
              AllOf(HasSubstr("  csum=on|off"), Not(HasSubstr("  addr=SLOT"))));
  EXPECT_THAT(printed("-net nic,model=help"), HasSubstr("\nvirtio "));
  EXPECT_EQ(printed("-nic model=help"), printed("-net nic,model=help"));
  EXPECT_THAT(printed("-net nic,help"), HasSubstr("  macaddr=MAC"));
  EXPECT_THAT(printed("-d help"), HasSubstr("\nnet "));
}

TEST(OptionsTest, LogsAreChosenByName) {
  EXPECT_TRUE(machine("-kernel k -d net").log_network);
  EXPECT_FALSE(machine("-kernel k").log_network);
  EXPECT_EQ(refusal("-kernel k -d net,cpu"),
            "-d net,cpu: tapir has no log of 'cpu'; it has net, and -d help lists them");
}

TEST(OptionsTest, DryRunIsKept) {
  EXPECT_TRUE(run_options("-kernel k -dry-run").dry_run);
  EXPECT_FALSE(run_options("-kernel k").dry_run);
}

struct Refusal {
  const char* line;
  const char* message;
};

class OptionsRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(OptionsRefusalTest, IsOneClearSentence) {
  EXPECT_EQ(refusal(GetParam().line), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Words, OptionsRefusalTest,
    ::testing::Values(
        Refusal{"-kernl x", "-kernl: tapir has no such option; did you mean -kernel?"},
        Refusal{"-drive file=x", "-drive: tapir has no such option; -help lists those that it has"},
        Refusal{"vmlinuz", "'vmlinuz' does not belong to an option; the kernel is given by -kernel FILE"},
        Refusal{"-", "-: tapir has no such option; -help lists those that it has"},
        Refusal{"-kernel", "-kernel needs an argument: -kernel FILE; for example -kernel /boot/vmlinuz"},
        Refusal{"-kernel k -m", "-m needs an argument: -m [size=]N[K|M|G|T]; for example -m 256"}));

INSTANTIATE_TEST_SUITE_P(
    Machine, OptionsRefusalTest,
    ::testing::Values(
        Refusal{"-kernel k -initrd ,a",
                "-initrd ,a: a file has no name; for example -initrd initrd.img,modules.img"},
        Refusal{"-m 0", "-m 0: memory size must be at least 2M; for example -m 256"},
        Refusal{"-m 1", "-m 1: memory size must be at least 2M; for example -m 256"},
        Refusal{"-m 65T", "-m 65T: memory size must be at most 64T; for example -m 4G"},
        Refusal{"-m lots",
                "-m lots: 'lots' is not a memory size; give mebibytes, or a number with M or G: for example "
                "-m 256"},
        Refusal{"-m -5",
                "-m -5: '-5' is not a memory size; give mebibytes, or a number with M or G: for example -m "
                "256"},
        Refusal{"-m 99999999999G",
                "-m 99999999999G: '99999999999G' is not a memory size; give mebibytes, or a number "
                "with M or G: for example -m 256"},
        Refusal{"-m 256,maxmem=1G", "-m 256,maxmem=1G: unknown key 'maxmem'; tapir knows size"},
        Refusal{"-smp 0", "-smp 0: the number of CPUs must be 1 to 64; for example -smp 2"},
        Refusal{"-smp 65", "-smp 65: the number of CPUs must be 1 to 64; for example -smp 2"},
        Refusal{"-smp two", "-smp two: the number of CPUs must be 1 to 64; for example -smp 2"},
        Refusal{"-smp 2,cores=2", "-smp 2,cores=2: unknown key 'cores'; tapir knows cpus"},
        Refusal{
            "-cpu qemu64",
            "-cpu qemu64: tapir has no CPU model 'qemu64'; use -cpu host, with features as in host,-avx512f"},
        Refusal{"-cpu host,avx2",
                "-cpu host,avx2: 'avx2' is not a feature; write +NAME or -NAME, for example host,-avx512f"},
        Refusal{"-cpu host,+AVX",
                "-cpu host,+AVX: 'AVX' is not a feature name; the names are those of flags in "
                "/proc/cpuinfo, for example -avx512f"},
        Refusal{"-cpu host,+avx,-avx",
                "-cpu host,+avx,-avx: feature 'avx' is switched on and off; give it once"},
        Refusal{"-name guest=", "-name guest=: the name is empty; for example -name web1"},
        Refusal{"-serial tty",
                "-serial tty: 'tty' is no place for the serial port; use stdio, none, null or file:PATH"},
        Refusal{"-serial file:", "-serial file:: the path is missing; for example -serial file:console.log"},
        Refusal{"-serial stdio -serial null", "-serial null: tapir has one serial port; give -serial once"},
        Refusal{"-accel tcg", "-accel tcg: tapir runs on KVM only; use -accel kvm or leave it out"},
        Refusal{"-M virt",
                "-M virt: tapir has no machine 'virt'; it has one, which q35, pc and microvm all stand for"},
        Refusal{"-machine q35,accel=tcg",
                "-machine q35,accel=tcg: accel=tcg: tapir runs on KVM only; use accel=kvm or leave it out"},
        Refusal{"-display gtk", "-display gtk: tapir has no such thing; only none is accepted"}));

}  // namespace
}  // namespace tapir::vmm
