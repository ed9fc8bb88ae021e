# Mixed models with structured residuals by nlme's lme and gls, and meta-analyses by metafor: criteria, estimates, standard
# errors (of the inverse of X'V^-1X, without gls's factor by ML).
# Run in this folder: Rscript nlme.R > nlme.json
suppressMessages({library(nlme); library(metafor); library(jsonlite)})
options(digits = 15)

data <- function(name) read.csv(file.path("..", "data", paste0(name, ".csv")))
orthodont <- transform(data("Orthodont"), v = (age - 8) / 2, Sex = factor(Sex, levels = c("Male", "Female")))
sleep <- data("sleepstudy")
rats <- transform(data("BodyWeight"), Diet = factor(Diet))
mares <- transform(data("Ovary"), place = ave(Time, Mare, FUN = seq_along))
dialyzers <- transform(data("Dialyzer"), QB = factor(QB))
oats <- transform(data("Oats"), step = nitro * 5)

tight <- lmeControl(maxIter = 500, msMaxIter = 5000, tolerance = 1e-10, msTol = 1e-12, returnObject = TRUE)
tight_gls <- glsControl(maxIter = 500, msMaxIter = 5000, tolerance = 1e-10, msTol = 1e-12, returnObject = TRUE)
waves <- follicles ~ sin(2 * pi * Time) + cos(2 * pi * Time)
quartic <- rate ~ (pressure + I(pressure^2) + I(pressure^3) + I(pressure^4)) * QB
mixed <- function(...) function(method) lme(..., method = method, control = tight)
fixed <- function(...) function(method) gls(..., method = method, control = tight_gls)

cases <- list(
  orthodont_ri_ar1_sex = mixed(distance ~ age * Sex, orthodont, ~ 1 | Subject, corAR1(form = ~ v | Subject), varIdent(form = ~ 1 | Sex)),
  orthodont_rs_sex = mixed(distance ~ age * Sex, orthodont, ~ age | Subject, weights = varIdent(form = ~ 1 | Sex)),
  orthodont_arma11 = fixed(distance ~ age * Sex, orthodont, corARMA(form = ~ v | Subject, p = 1, q = 1)),
  sleep_ou_nugget = fixed(Reaction ~ Days, sleep, corExp(form = ~ Days | Subject, nugget = TRUE)),
  sleep_sph = fixed(Reaction ~ Days, sleep, corSpher(15, form = ~ Days | Subject)),
  sleep_gau_nugget = fixed(Reaction ~ Days, sleep, corGaus(c(4, 0.2), form = ~ Days | Subject, nugget = TRUE)),
  sleep_ri_ar1 = mixed(Reaction ~ Days, sleep, ~ 1 | Subject, corAR1(form = ~ Days | Subject)),
  sleep_rs_ar1 = mixed(Reaction ~ Days, sleep, ~ Days | Subject, corAR1(form = ~ Days | Subject)),
  rats_ri_power = mixed(weight ~ Time * Diet, rats, ~ 1 | Rat, weights = varPower(form = ~ Time)),
  rats_ri_exp = mixed(weight ~ Time * Diet, rats, ~ 1 | Rat, weights = varExp(form = ~ Time)),
  rats_rs_product = mixed(weight ~ Time * Diet, rats, ~ Time | Rat, weights = varComb(varIdent(form = ~ 1 | Diet), varPower(form = ~ Time))),
  ovary_ar1 = fixed(waves, mares, corAR1(form = ~ place | Mare)),
  ovary_ri_ar1 = mixed(waves, mares, ~ 1 | Mare, corAR1(form = ~ place | Mare)),
  ovary_ri_car1 = mixed(waves, mares, ~ 1 | Mare, corCAR1(0.1, form = ~ Time | Mare)),
  dialyzer_ar1_power = fixed(quartic, dialyzers, corAR1(0.5, form = ~ index | Subject), varPower(form = ~ pressure)),
  oats_nested_ar1 = mixed(yield ~ nitro, oats, ~ 1 | Block/Variety, corAR1(form = ~ step | Block/Variety))
)

answer <- function(fit) {
  ml <- fit$method == "ML" && inherits(fit, "gls")
  cov <- if (inherits(fit, "gls")) fit$varBeta else fit$varFix
  factor <- if (ml) (fit$dims$N - fit$dims$p) / fit$dims$N else 1
  cor <- fit$modelStruct$corStruct
  out <- list(minus2_loglik = -2 * as.numeric(logLik(fit)), n_params = attr(logLik(fit), "df"), sigma = fit$sigma,
              coefficients = unname(if (inherits(fit, "gls")) coef(fit) else fixef(fit)),
              std_errors = unname(sqrt(diag(cov) * factor)),
              normalized = unname(as.numeric(residuals(fit, type = "normalized"))[1:8]))
  if (!is.null(cor)) out$correlation <- unname(coef(cor, unconstrained = FALSE))
  if (!is.null(fit$modelStruct$varStruct)) out$variance <- as.list(coef(fit$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE))
  if (inherits(fit, "lme")) {
    inner <- ranef(fit)
    inner <- if (is.data.frame(inner)) inner else inner[[length(inner)]]
    out$modes <- list(levels = rownames(inner), values = unname(as.matrix(inner)))
  }
  out
}
out <- lapply(cases, function(case) sapply(c("REML", "ML"), function(method) answer(case(method)), simplify = FALSE))

bcg <- escalc("RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
three <- transform(dat.konstantopoulos2011, district = factor(district))
meta <- function(fit) list(log_lik = as.numeric(logLik(fit)), coefficients = unname(as.numeric(coef(fit))), std_errors = unname(fit$se),
                           p_values = unname(as.numeric(fit$pval)), variances = as.numeric(fit$tau2))
closer <- list(threshold = 1e-12, maxiter = 1000)
out$meta <- list(
  bcg = list(yi = as.numeric(bcg$yi), vi = as.numeric(bcg$vi), ablat = bcg$ablat),
  three = list(yi = as.numeric(three$yi), vi = as.numeric(three$vi), district = as.character(three$district), school = three$school)
)
for (method in c("REML", "ML")) {
  out$meta[[method]] <- list(
    bcg = meta(rma(yi, vi, data = bcg, method = method, control = closer)),
    bcg_ablat = meta(rma(yi, vi, mods = ~ ablat, data = bcg, method = method, control = closer)),
    bcg_ablat_knha = meta(rma(yi, vi, mods = ~ ablat, data = bcg, method = method, control = closer, test = "knha"))
  )
  levels <- rma.mv(yi, vi, random = ~ 1 | district/school, data = three, method = method, control = list(rel.tol = 1e-11))
  out$meta[[method]]$three <- list(log_lik = as.numeric(logLik(levels)), coefficients = unname(as.numeric(coef(levels))),
                                   std_errors = unname(levels$se), variances = levels$sigma2)
}
out$versions <- list(R = R.version.string, nlme = as.character(packageVersion("nlme")), metafor = as.character(packageVersion("metafor")))
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "\n")
