# Cluster-robust covariances, degrees of freedom and joint tests of clubSandwich for lmer fits.
# Weights are left out: clubSandwich has none for lmer fits.
# Run in this folder: Rscript robust.R > robust.json
suppressMessages({library(lme4); library(clubSandwich); library(jsonlite)})

read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")))
  frame$row <- seq_len(nrow(frame))
  for (f in factors) frame[[f]] <- factor(frame[[f]], levels = unique(frame[[f]]))
  frame
}
thinned <- function(frame) frame[frame$row %% 7 != 0 & frame$row %% 11 != 3, ]
polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))

cases <- list(
  sleepstudy = list("sleepstudy", "Reaction ~ Days + (Days | Subject)", "Subject", "Subject"),
  sleepstudy_intercept = list("sleepstudy", "Reaction ~ Days + (1 | Subject)", "Subject", "Subject"),
  dietox_litter = list("dietox", "Weight ~ Time * Cu + (Time | Pig)", c("Pig", "Cu", "Litter"), "Litter"),
  pastes = list("Pastes", "strength ~ 1 + (1 | batch/cask)", c("batch", "cask"), "batch"),
  cake = list("cake", "angle ~ recipe + temp + (1 | replicate/recipe)", c("recipe", "replicate"), "replicate")
)
out <- lapply(cases, function(case) {
  frame <- thinned(read(case[[1]], case[[3]]))
  fit <- lmer(as.formula(case[[2]]), frame, control = polished)
  p <- length(fixef(fit))
  L <- if (p == 1) diag(1) else diag(p)[-1, , drop = FALSE]
  kinds <- lapply(c(CR0 = "CR0", CR1 = "CR1", CR2 = "CR2", CR3 = "CR3"), function(kind) {
    V <- vcovCR(fit, cluster = frame[[case[[4]]]], type = kind)
    joint <- Wald_test(fit, constraints = L, vcov = V, test = "HTZ")
    list(cov = unname(as.matrix(V)[, ]), df = coef_test(fit, vcov = V, test = "Satterthwaite")$df,
         f = joint$Fstat, num_df = joint$df_num, den_df = joint$df_denom)
  })
  c(list(data = case[[1]], formula = case[[2]], factors = I(case[[3]]), cluster = case[[4]],
         names = I(names(fixef(fit))), beta = I(unname(fixef(fit))), L = L), kinds)
})
cat(toJSON(c(out, list(versions = list(lme4 = as.character(packageVersion("lme4")),
  clubSandwich = as.character(packageVersion("clubSandwich"))))), digits = NA, auto_unbox = TRUE), "\n")
