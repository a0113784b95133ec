// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine.h"

#include <algorithm>
#include <utility>

#include "vmm/acpi/tables.h"
#include "vmm/boot/loader.h"
#include "vmm/cpuid.h"
#include "vmm/network_info.h"
#include "vmm/platform.h"

namespace tapir::vmm {
namespace {

/// Whether the guest itself ends the run so, be it by what follows a panic.
bool is_guests(EndReason reason) {
  switch (reason) {
    case EndReason::kPowerOff:
    case EndReason::kReset:
    case EndReason::kTripleFault:
    case EndReason::kInternalError:
    case EndReason::kTimeLimit:
      return true;
    default:
      return false;
  }
}

}  // namespace

Machine::Machine(const MachineConfig& config, HostResources& host, Vm vm, std::unique_ptr<IrqRouting> routing,
                 std::function<void()> on_end)
    : config_(config),
      host_(host),
      on_end_(std::move(on_end)),
      vm_(std::move(vm)),
      routing_(std::move(routing)),
      lines_(vm_),
      doorbell_(vm_),
      pvpanic_(*this),
      reset_port_(*this),
      pci_host_(memory_bus_, &reset_port_) {}

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config, HostResources& host,
                                                 std::function<void()> on_end) {
  TAPIR_TRY(host.memory.clear());
  TAPIR_TRY_ASSIGN(Vm vm, Vm::create(host.kvm, host.memory.regions()));
  TAPIR_TRY_ASSIGN(auto routing, IrqRouting::create(vm));
  // Not make_unique: the constructor is private.
  std::unique_ptr<Machine> machine(
      new Machine(config, host, std::move(vm), std::move(routing), std::move(on_end)));
  TAPIR_TRY(machine->add_platform_devices());
  TAPIR_TRY(machine->add_nics());
  TAPIR_TRY(machine->add_vcpus());
  TAPIR_TRY(machine->load_kernel());
  return machine;
}

Machine::~Machine() {
  stop();
}

Status Machine::add_platform_devices() {
  sci_ = lines_.add_source(platform::kSciGsi);
  acpi_pm_ = std::make_unique<AcpiPm>(*sci_, *this);
  TAPIR_TRY(ports_.add(platform::kPm1EventPort, AcpiPm::kPorts, *acpi_pm_));
  if (config_.serial.kind != SerialConfig::Kind::kNone) {
    com1_line_ = lines_.add_source(platform::kCom1Gsi);
    serial_ = std::make_unique<Serial>(*com1_line_, host_.console.get(), host_.serial_input_space);
    TAPIR_TRY(ports_.add(platform::kCom1Port, Serial::kPorts, *serial_));
  }
  TAPIR_TRY_ASSIGN(rtc_line_, GsiInterrupt::create(vm_, platform::kRtcGsi));
  rtc_ = std::make_unique<Rtc>(*rtc_line_, host_.rtc_timer.get());
  TAPIR_TRY(ports_.add(platform::kRtcPort, Rtc::kPorts, *rtc_));
  TAPIR_TRY_ASSIGN(keyboard_line_, GsiInterrupt::create(vm_, platform::kKeyboardGsi));
  i8042_ = std::make_unique<I8042>(*keyboard_line_, *this);
  TAPIR_TRY(ports_.add(platform::kI8042DataPort, 1, i8042_->data_port()));
  TAPIR_TRY(ports_.add(platform::kI8042CommandPort, 1, i8042_->command_port()));
  for (const ExitDeviceConfig& device : config_.exit_devices) {
    exit_devices_.push_back(std::make_unique<ExitDevice>(device.kind, *this));
    TAPIR_TRY(ports_.add(device.port, device.ports, *exit_devices_.back()));
  }
  return ports_.add(platform::kPvpanicPort, 1, pvpanic_);
}

Status Machine::add_nics() {
  const NicParts parts{vm_, *routing_, lines_, doorbell_, host_.memory, memory_bus_, pci_host_};
  std::vector<HostNic>& hosts = host_.network.nics;
  TAPIR_TRY_ASSIGN(const std::vector<unsigned> slots, assign_pci_slots(hosts, pci_host_));
  unsigned mmio_devices = 0;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    HostNic& nic = hosts[i];
    if (nic.config.model == NicModel::kVirtioNetPci) {
      TAPIR_TRY_ASSIGN(nics_.emplace_back(), PciNic::create(nic, slots[i], parts));
    } else {
      TAPIR_TRY_ASSIGN(nics_.emplace_back(), MmioNic::create(nic, parts, mmio_devices++));
    }
  }
  TAPIR_TRY(pci_host_.attach(ports_));
  return pci_host_.assign_resources();
}

Status Machine::load_kernel() {
  acpi::MachineDescription description;
  description.cpus = config_.cpus;
  description.com1 = serial_ != nullptr;
  for (const auto& nic : nics_) {
    if (const auto device = nic->acpi_device()) {
      description.virtio_mmio.push_back(*device);
    }
  }
  TAPIR_TRY_ASSIGN(const auto rsdp, acpi::write_tables(host_.memory, description));
  const boot::LoadParameters parameters{config_.command_line, virtio::to_integer(rsdp)};
  TAPIR_TRY_ASSIGN(const auto entry, boot::load(host_.memory, host_.files, parameters));
  return vcpus_.front()->set_entry(entry);
}

Status Machine::add_vcpus() {
  TAPIR_TRY_ASSIGN(const CpuidTable table, machine_cpuid(host_.kvm, config_.cpu));
  const VcpuBuses buses{ports_, memory_bus_, *this};
  for (unsigned number = 0; number < config_.cpus; ++number) {
    TAPIR_TRY_ASSIGN(auto vcpu,
                     Vcpu::create(host_.kvm, vm_, number, vcpu_cpuid(table, number, config_.cpus), buses));
    vcpus_.push_back(std::move(vcpu));
  }
  return {};
}

Status Machine::start() {
  // The boot CPU last: until it runs the others only wait for it, so end() finds every thread there is.
  for (auto vcpu = vcpus_.rbegin(); vcpu != vcpus_.rend(); ++vcpu) {
    TAPIR_TRY((*vcpu)->start());
  }
  return {};
}

void Machine::stop() {
  for (const auto& vcpu : vcpus_) {
    vcpu->request_stop();
  }
  for (const auto& vcpu : vcpus_) {
    vcpu->join();
  }
  for (const auto& nic : nics_) {
    nic->stop();
  }
}

std::vector<NicStatistics> Machine::nic_statistics() const {
  std::vector<NicStatistics> all;
  for (unsigned index = 0; index < nics_.size(); ++index) {
    const HostNic& host = host_.network.nics[index];
    const Nic& machine_nic = *nics_[index];
    const virtio::NetDevice& device = machine_nic.device();
    NicStatistics& nic = all.emplace_back();
    nic.name = nic_name(host.config, index);
    nic.peer = peer_name(host.config, config_.hubs);
    nic.interface = host.ifname;
    nic.mac = host.mac;
    nic.link_up = device.link_up();
    for (std::size_t pair = 0; pair < device.pairs(); ++pair) {
      nic.pairs.push_back({&device.counters(pair), &host.io[pair]->counters()});
    }
  }
  return all;
}

void Machine::end(EndReason reason, std::string detail, std::uint8_t guest_status) {
  {
    if (reason == EndReason::kPanic && config_.end.panic == EndConfig::Panic::kNone) {
      return;
    }
    const std::lock_guard lock(mutex_);
    if (outcome_) {
      return;  // the first cause wins: what follows a panic or a triple fault is its consequence
    }
    if (panicked_ && is_guests(reason)) {
      reason = EndReason::kPanic;
      detail.clear();
    }
    outcome_ = Outcome{reason, std::move(detail), guest_status};
  }
  for (const auto& vcpu : vcpus_) {
    vcpu->request_stop();
  }
  on_end_();
}

void Machine::note_panic() {
  const std::lock_guard lock(mutex_);
  panicked_ = true;
}

std::vector<std::string> Machine::describe_vcpus() const {
  std::vector<std::string> lines;
  for (const auto& vcpu : vcpus_) {
    lines.push_back(vcpu->describe_state());
  }
  return lines;
}

void Machine::add_exit_counts(std::map<std::string, std::uint64_t>& counts) const {
  for (const auto& vcpu : vcpus_) {
    const auto exits = vcpu->exit_counts();
    for (std::uint32_t reason = 0; reason < exits.size(); ++reason) {
      if (exits[reason] != 0) {
        counts[std::string(exit_name(reason))] += exits[reason];
      }
    }
  }
}

Machine::Outcome Machine::outcome() const {
  const std::lock_guard lock(mutex_);
  return outcome_.value_or(Outcome{});
}

}  // namespace tapir::vmm
