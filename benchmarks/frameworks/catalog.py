"""The trainings that are compared, and the packages that each of them needs."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A training: ``module:function`` in the package ``trainings``, imported only if its packages are installed."""

    title: str
    packages: tuple[str, ...]
    function: str


CATALOG = (
    Entry("torchvision ResNet-18, plain loop", ("torchvision",), "vision_models:train_torchvision"),
    Entry("timm ResNet-10-T, plain loop", ("timm",), "timm_models:train_resnet"),
    Entry("timm EfficientNet-Lite (BatchNormAct2d, ReLU6)", ("timm",), "timm_models:train_efficientnet"),
    Entry("segmentation_models Unet, Dice loss", ("segmentation_models_pytorch",), "segmentation:train_unet"),
    Entry("MONAI UNet in a SupervisedTrainer", ("monai", "pytorch-ignite"), "monai_engine:train_unet"),
    Entry("PyG GCN, edge list", ("torch_geometric",), "graphs:train_gcn"),
    Entry("PyG GAT, edge list", ("torch_geometric",), "graphs:train_gat"),
    Entry("PyG GCN, sparse adjacency", ("torch_geometric",), "graphs:train_sparse_gcn"),
    Entry("PyG DenseGCNConv, dense adjacency", ("torch_geometric",), "graphs:train_dense_gcn"),
    Entry("Lightning Trainer", ("lightning",), "lightning_trainer:train_classifier"),
    Entry("Lightning GAN, manual optimization", ("lightning",), "lightning_gan:train_gan"),
    Entry("Transformers Trainer, OPT", ("transformers", "accelerate"), "transformers_trainer:train_opt"),
    Entry("Transformers, checkpointed OPT", ("transformers", "accelerate"), "transformers_trainer:train_checkpointed"),
    Entry("Transformers Seq2SeqTrainer, T5", ("transformers", "accelerate"), "transformers_trainer:train_t5"),
    Entry("Accelerate, gradient accumulation", ("accelerate",), "accelerate_loop:train_classifier"),
    Entry("ignite Engine", ("pytorch-ignite",), "ignite_engine:train_classifier"),
    Entry("skorch NeuralNetClassifier", ("skorch",), "skorch_net:train_classifier"),
    Entry("fastai Learner, torch's Adam", ("fastai",), "fastai_learner:train_with_torch_optimizer"),
    Entry("fastai Learner, fastai's Adam, monitor.step()", ("fastai",), "fastai_learner:train_with_own_optimizer"),
    Entry("Opacus PrivacyEngine", ("opacus",), "opacus_engine:train_private"),
    Entry("Stable-Baselines3 PPO", ("stable_baselines3", "gymnasium"), "reinforcement:train_ppo"),
    Entry("Stable-Baselines3 SAC", ("stable_baselines3", "gymnasium"), "reinforcement:train_sac"),
    Entry("Stable-Baselines3 TD3", ("stable_baselines3", "gymnasium"), "reinforcement:train_td3"),
    Entry("Stable-Baselines3 DQN", ("stable_baselines3", "gymnasium"), "reinforcement:train_dqn"),
    Entry("schedulefree AdamW", ("schedulefree",), "schedule_free:train_classifier"),
    Entry("pytorch_optimizer SAM", ("pytorch_optimizer",), "sharpness_aware:train_classifier"),
)
